"""Results as a person reads them: on the terminal, as Markdown, JSON and a picture."""
