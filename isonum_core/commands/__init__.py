"""The command line: files read at the door, measures reported, studies run."""
