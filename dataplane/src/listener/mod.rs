//! Sockets: one acceptor hands them to the cores evenly, under connection budgets.
