"""Where state is kept: one file a collection or a Redis structure, behind narrow interfaces."""
