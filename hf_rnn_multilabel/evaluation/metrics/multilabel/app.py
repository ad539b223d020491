"""The metric as a Space: give predictions and references as JSON, read the metrics."""

import json
from pathlib import Path

import evaluate
import gradio as gr


metric = evaluate.load(str(Path(__file__).with_name("multilabel.py")))


def compute(predictions: str, references: str) -> dict[str, float]:
    try:
        return metric.compute(predictions=json.loads(predictions), references=json.loads(references))
    except ValueError as error:
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    compute,
    inputs=[
        gr.Textbox("[[1, 0], [0, 1]]", label="predictions, 0 or 1: a list of rows, each a list of labels"),
        gr.Textbox("[[1, 0], [1, 1]]", label="references, 0 or 1, or -100 where ignored"),
    ],
    outputs=gr.JSON(label="metrics"),
    title="Multi-label classification metrics",
)

if __name__ == "__main__":
    demo.launch()
