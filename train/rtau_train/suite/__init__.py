"""Real photographs whose Action Units people have labeled, to judge networks that learned from renders."""
