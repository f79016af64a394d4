"""What functions find around them: their importer, the module `faas`, and contexts. `native` is given."""

import sys
import _frozen_importlib
import _thread
import marshal
import posix

ROOT = "/code/"
Module = type(sys)


class _Local:
    """Thread-local data of the only thread, made so that classes can inherit from it."""


_thread._local = _Local

# There is no list of users that could tell it; `sysconfig`, which `ctypes` imports, asks.
posix.environ.setdefault(b"HOME", b"/tmp")


class Importer:
    """Finds modules in the function's own code."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        base = name.replace(".", "/")
        package = native.has_file(base + "/__init__.py")
        file = base + "/__init__.py" if package else base + ".py"
        if package or native.has_file(file):
            spec = _frozen_importlib.ModuleSpec(name, Importer, origin=ROOT + file, is_package=package)
            spec.has_location = True
        elif native.has_folder(base):
            spec = _frozen_importlib.ModuleSpec(name, None, is_package=True)
        else:
            return None
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(ROOT + base)
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(Importer.get_code(module.__name__), module.__dict__)

    @staticmethod
    def get_filename(name):
        spec = Importer.find_spec(name)
        if spec is None or spec.loader is None:
            raise ImportError("no module " + name, name=name)
        return spec.origin

    @staticmethod
    def get_code(name):
        file = Importer.get_filename(name)
        ahead = native.read_code(file[len(ROOT):])
        if ahead is not None:
            try:
                return marshal.loads(ahead)
            except (ValueError, TypeError, EOFError):
                pass
        return compile(Importer.get_data(file), file, "exec", dont_inherit=True)

    @staticmethod
    def get_source(name):
        return Importer.get_data(Importer.get_filename(name)).decode()

    @staticmethod
    def is_package(name):
        return Importer.get_filename(name).endswith("/__init__.py")

    @staticmethod
    def get_resource_reader(name):
        return packages().Reader(Importer.get_filename(name)[len(ROOT):].rpartition("/")[0])

    @staticmethod
    def find_distributions(context=None):
        return packages().find_distributions(context)

    @staticmethod
    def get_data(path):
        data = native.read_file(path[len(ROOT):]) if path.startswith(ROOT) else None
        if data is None:
            raise FileNotFoundError(2, "not part of the function's code", path)
        return data


def packages():
    """What knows resources and metadata of packages."""
    if packages.module is None:
        module = Module("packages")
        module.native, module.ROOT = native, ROOT
        exec(native.packages(), module.__dict__)
        packages.module = module
    return packages.module


packages.module = None


class InvokeError(Exception):
    """A nested invocation failed: `kind` as in the manager's list of errors, `message` for people."""

    __module__ = "faas"

    def __init__(self, kind, message):
        super().__init__(kind + ": " + message)
        self.kind = kind
        self.message = message


class Reply(bytes):
    """What a nested invocation answered: its bytes."""

    __module__ = "faas"
    __slots__ = ()

    @property
    def text(self):
        return self.decode()

    def json(self):
        return native.loads(bytes(self))


class Context:
    """The invocation that a handler serves."""

    __module__ = "faas"
    __slots__ = ("request_id", "depth")

    def __init__(self, request_id, depth):
        self.request_id = request_id
        self.depth = depth

    @property
    def function_name(self):
        return native.function()[0]

    @property
    def function_version(self):
        return native.function()[1]

    @property
    def memory_limit(self):
        return native.function()[2]

    def remaining_time_ms(self):
        return native.remaining_ns() // 1000000


def encode(value):
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return native.dumps(value)


def invoke(name, payload=b"", timeout=None):
    """Calls a function. A text is sent as it is, bytes too, other values as JSON; `timeout` is in seconds."""
    payload = payload.encode() if isinstance(payload, str) else encode(payload)
    limit = 0 if timeout is None else max(1, int(timeout * 1000000000))
    kind, answer = native.invoke(name, payload, limit)
    if kind is None:
        return Reply(answer)
    raise InvokeError(kind, answer)


def log(*values):
    """Writes a line to the invocation's log."""
    print(*values, file=sys.stderr, flush=True)


def add_faas():
    faas = Module("faas", "The platform that runs this function.")
    faas.invoke, faas.log, faas.env = invoke, log, {}
    faas.InvokeError, faas.Reply, faas.Context = InvokeError, Reply, Context
    sys.modules["faas"] = faas


def add_variable(name, value):
    """Puts a variable of the function where its code looks for it: `faas.env`, `os.environ`, the C library."""
    sys.modules["faas"].env[name] = value
    os = sys.modules.get("os")
    if os is not None:
        os.environ[name] = value
    else:
        posix.environ[name.encode()] = value.encode()
        posix.putenv(name, value)


class HandlerError(Exception):
    """The code has no handler that can be called."""

    __module__ = "faas"


def find_handler(module, name):
    names = [name] if name else ["handler", "main"]
    for name in names:
        found = module.__dict__.get(name)
        if callable(found):
            return name, found
    raise HandlerError(
        module.__name__ + " has no function " + " or ".join(names)
        + "; define it, or name another one with the key handler"
    )


def compiled(name):
    """The marshalled code of a source file; or file, line and message of what is wrong with it."""
    file = ROOT + name
    try:
        return marshal.dumps(compile(Importer.get_data(file), file, "exec", dont_inherit=True))
    except SyntaxError as error:
        return "%s:%s: %s: %s" % (name, error.lineno, type(error).__name__, error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return "%s: %s: %s" % (name, type(error).__name__, error)


def load(module_name, function_name):
    """Imports the code; returns whether the handler takes text, and the handler."""
    # What is written reaches the buffers at once, which note that.
    sys.stdout.reconfigure(line_buffering=True, write_through=True)
    sys.stderr.reconfigure(line_buffering=True, write_through=True)
    sys.meta_path.insert(1, Importer)
    __import__(module_name)
    name, found = find_handler(sys.modules[module_name], function_name)
    return name == "main", found


def text(request):
    """The text that a request's bytes are; raises what decoding raises."""
    return request.decode()


def encode_text(result):
    """The bytes that the result of a handler for text stands for."""
    if isinstance(result, str):
        return result.encode()
    if result is None or isinstance(result, (bytes, bytearray, memoryview)):
        return bytes(result or b"")
    raise TypeError("main must return str, bytes or None, not " + type(result).__name__)


def idle(request, context=None):
    """Stands for the handler while nobody calls."""
    return request


def reseed():
    """Gives the generator of `random` new randomness."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed(native.entropy())


def exit_code(error):
    """The exit code that a SystemExit stands for; a text is printed."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def places(error):
    """Where in the function's code an exception was raised, and where that was called, the innermost place first."""
    entry = error.__traceback__
    found = []
    while entry is not None:
        code = entry.tb_frame.f_code
        if code.co_filename.startswith(ROOT):
            place = code.co_filename[len(ROOT):] + ":" + str(entry.tb_lineno) + " in " + code.co_name
            if found and found[-1][0] == place:
                found[-1][1] += 1
            else:
                found.append([place, 1])
        entry = entry.tb_next
    found.reverse()
    return [place if times == 1 else place + ", " + str(times) + " times" for place, times in found]
