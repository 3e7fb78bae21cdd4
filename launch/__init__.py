"""What to run and where it stands: experiment file, recipes, keys, plan, store, submit, status, and the job itself."""
