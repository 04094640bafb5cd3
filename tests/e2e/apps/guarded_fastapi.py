"""One open route and two that refuse, on FastAPI."""

from fastapi import FastAPI, HTTPException, Response

app = FastAPI()


@app.get("/open")
async def fine():
    return "fine"


@app.get("/secret/{number}")
async def secret(number: int):
    raise HTTPException(401)


@app.get("/closed")
def closed():
    return Response("no", status_code=403)
