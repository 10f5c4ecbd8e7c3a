"""How good a network is: what it says of faces with known labels, and the figures, tables and plots of that."""
