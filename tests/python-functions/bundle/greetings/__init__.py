"""A package."""


def polite(word):
    return word.title()
