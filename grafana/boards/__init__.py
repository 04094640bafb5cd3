"""One module for each dashboard, with a function ``dashboard()`` that returns it; the module's name is the file's."""
