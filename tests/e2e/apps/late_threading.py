"""Imports threading late and prints which thread is the main one then."""

import os
import time

while not os.path.exists("go"):
    time.sleep(0.05)

import threading

print(threading.current_thread() is threading.main_thread(), threading.main_thread().is_alive())
