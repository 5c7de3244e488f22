"""Parts of corruptions: their kinds, files of labels, arithmetic."""
