"""The Denoise dock: form, request, task and result layers."""
