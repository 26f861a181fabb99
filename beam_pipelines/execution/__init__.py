"""An encode as work items, and what runs them: this process, several tasks, or a Beam runner."""
