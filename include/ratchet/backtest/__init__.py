"""The time machine: the whole loop played over past data, with the library's own functions, in virtual time."""
