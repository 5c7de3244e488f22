"""What corruptions are made of: their kinds, files of labels, arithmetic."""
