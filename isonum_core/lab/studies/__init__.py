"""One file per study: a frozen configuration with its seeds inside, and a pure run(config) that returns rows."""
