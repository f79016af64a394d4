"""jinja2 with markupsafe: a template with loops, filters, macros, inheritance and escaping."""

import hashlib
import random

import jinja2

TEMPLATES = {
    "base": "<title>{% block title %}{% endblock %}</title>{% block body %}{% endblock %}",
    "page": """{% extends "base" %}{% macro row(n, v) %}<td>{{ n }}</td><td>{{ v|default("-") }}</td>{% endmacro %}
{% block title %}{{ title|title }}{% endblock %}
{% block body %}{% for item in items|sort(attribute="n") %}<tr class="{{ loop.cycle('odd', 'even') }}">
{{ row(item.n, item.v) }}</tr>{% else %}none{% endfor %}{{ items|map(attribute="n")|sum }}{% endblock %}""",
}


def text(seed):
    dice = random.Random(int(seed))
    items = [{"n": dice.randrange(100), "v": dice.choice(["<b>", "a & b", None])} for _ in range(30)]
    environment = jinja2.Environment(loader=jinja2.DictLoader(TEMPLATES), autoescape=True)
    return environment.get_template("page").render(title="report " + seed, items=items)


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
