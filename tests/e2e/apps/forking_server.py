"""A server of the standard library that forks per request; exits with 6 after three requests."""

import logging
import os
import socket
import socketserver
import sys
import threading

logging.basicConfig(format="%(message)s")


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())
        logging.warning("serving")
        os.write(1, b"served\n")


with socketserver.ForkingTCPServer(("127.0.0.1", 0), Echo) as server:
    logging.warning("listening")

    def ask():
        for _ in range(3):
            with socket.create_connection(server.server_address) as client:
                client.sendall(b"hello\n")
                assert client.recv(10) == b"hello\n"

    client = threading.Thread(target=ask)
    client.start()
    for _ in range(3):
        server.handle_request()
    client.join()
sys.exit(6)
