"""Statistics: intervals, ranks and contrasts over crossed factors. How sure is a number?"""
