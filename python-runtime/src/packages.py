"""Resources and metadata of packages, for `importlib.resources` and `importlib.metadata`. It is run when somebody asks for
them, because few do. `native` and `ROOT` are given."""

import io
import importlib.metadata
from importlib.resources.abc import Traversable, TraversableResources

SUFFIX = ".dist-info"


class Resource(Traversable):
    """A file or folder of the function's code, by its path there."""

    def __init__(self, path):
        self.path = path

    def __str__(self):
        return ROOT + self.path

    @property
    def name(self):
        return self.path.rpartition("/")[2]

    @property
    def parent(self):
        return Resource(self.path.rpartition("/")[0])

    def is_dir(self):
        return not self.path or native.has_folder(self.path)

    def is_file(self):
        return native.has_file(self.path)

    def iterdir(self):
        return iter([self.joinpath(name) for name in native.list_folder(self.path)])

    def joinpath(self, *parts):
        path = self.path.split("/") if self.path else []
        for part in "/".join(map(str, parts)).split("/"):
            if part == "..":
                del path[-1:]
            elif part not in ("", "."):
                path.append(part)
        return Resource("/".join(path))

    def read_bytes(self):
        data = native.read_file(self.path)
        if data is None:
            raise FileNotFoundError(2, "not part of the function's code", str(self))
        return data

    def read_text(self, encoding="utf-8", errors=None):
        return self.open("r", encoding=encoding, errors=errors).read()

    def open(self, mode="r", *args, **kwargs):
        data = io.BytesIO(self.read_bytes())
        return data if "b" in mode else io.TextIOWrapper(data, *args, **kwargs)


class Reader(TraversableResources):
    """The resources of a package."""

    def __init__(self, path):
        self.path = path

    def files(self):
        return Resource(self.path)


class Distribution(importlib.metadata.Distribution):
    """A package as it was installed: its folder `NAME-VERSION.dist-info`."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def _normalized_name(self):
        return normal(self.folder.partition("-")[0])

    def read_text(self, filename):
        data = native.read_file(self.folder + "/" + str(filename))
        return None if data is None else data.decode()

    def locate_file(self, path):
        return Resource(str(path))


def normal(name):
    return importlib.metadata.Prepared.normalize(name)


def find_distributions(context):
    found = [Distribution(name) for name in native.list_folder("") if name.endswith(SUFFIX)]
    wanted = getattr(context, "name", None)
    return [each for each in found if wanted is None or each._normalized_name == normal(wanted)]
