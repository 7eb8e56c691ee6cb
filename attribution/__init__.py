"""Who influenced an answer, and a receipt that proves it. Pure: the standard library, no input or output."""
