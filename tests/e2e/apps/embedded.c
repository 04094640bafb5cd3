/* A program that embeds Python. Its exit status is 9 if the interpreter ended without an error. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

int main(void)
{
    int failed;

    Py_Initialize();
    failed = PyRun_SimpleString(
        "import logging, sqlite3\n"
        "cursor = sqlite3.connect(':memory:').cursor()\n"
        "cursor.execute('SELECT 1')\n"
        "logging.warning('embedded')\n"
        "print('inside', flush=True)\n");
    if (Py_FinalizeEx() != 0)
        return 2;
    puts("after");
    return failed ? 3 : 9;
}
