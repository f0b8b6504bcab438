"""Neural arithmetic: the iNALU layer, its task, its training recipe and its plots."""
