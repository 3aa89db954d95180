"""The Fine-tune dock: form, history, curves and task."""
