"""One module for each dashboard, with a function ``dashboard()``; the file is named after it."""
