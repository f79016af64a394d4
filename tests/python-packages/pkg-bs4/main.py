"""beautifulsoup4: broken HTML is read, searched with selectors, changed and written."""

import hashlib
import random

import bs4


def text(seed):
    dice = random.Random(int(seed))
    rows = "".join("<tr class=r%d><td>%d<td><a href='/x?%d'>&lt;%d</a>" % (n % 3, n, n, dice.randrange(99)) for n in range(30))
    soup = bs4.BeautifulSoup("<h1>T&eacute;st<table id=t>" + rows + "</table><p>end", "html.parser")
    links = [link["href"] for link in soup.select("#t tr.r1 > td a")]
    for cell in soup.find_all("td", string=True, limit=5):
        cell.string.replace_with("changed")
    return str(links) + soup.get_text("|") + soup.prettify()


def main(arg):
    return hashlib.sha256(text(arg).encode()).hexdigest()
