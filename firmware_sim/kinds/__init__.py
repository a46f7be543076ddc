"""One module for each kind of thing that a scenario has: its table, its steps, and what plays them."""
