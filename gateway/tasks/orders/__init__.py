"""What each command does, a module a subject. Who may give it, and that it is done once: `tasks.commands`."""
