"""One module a revision; its `revision` says its place, its name what it brought."""
