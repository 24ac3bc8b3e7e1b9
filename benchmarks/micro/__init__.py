"""Parts of bridgeserve alone, without sockets: `cases` says which, `__main__` times them, `instructions` counts."""
