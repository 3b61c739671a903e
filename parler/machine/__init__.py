"""This computer: our files, processes, programs we run and end, the workspace."""
