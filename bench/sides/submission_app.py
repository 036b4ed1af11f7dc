"""The application whose jobs are submitted over HTTP; nobody runs them."""

from pydantic import BaseModel

from holdfast import App, JobContext


class Order(BaseModel):
    """An input of the usual kind: a few fields that are checked."""

    number: int
    title: str
    pages: int = 1


app = App()


@app.job("order", queue="bench")
async def order(job: JobContext, order: Order) -> None:
    """Do nothing."""
