/* Counts the lines, words and bytes of its standard input, as wc does. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    unsigned long lines = 0, words = 0, bytes = 0;
    int is_inside = 0;
    for (int c; (c = getchar()) != EOF; bytes++) {
        lines += c == '\n';
        words += !isspace(c) && !is_inside;
        is_inside = !isspace(c);
    }
    if (ferror(stdin)) {
        perror("word-count");
        return EXIT_FAILURE;
    }
    printf("%lu lines, %lu words, %lu bytes\n", lines, words, bytes);
    return EXIT_SUCCESS;
}
