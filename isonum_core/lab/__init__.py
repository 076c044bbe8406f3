"""Lab: experiments as tables. One frozen configuration gives one table of rows, the same on every machine."""
