"""Fast forms of plain torch lines."""
