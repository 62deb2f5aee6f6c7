"""The explorer's still picture: what reopened and exported notebooks show."""

from io import BytesIO

from onnxshap.explanation import Explanation
from onnxshap.plot import require_matplotlib
from onnxshap_widgets.explorer.view import figure_of
from onnxshap_widgets.study import Question, Study


def picture(
    study: Study, sample: int, question: Question | None, explanation: Explanation | None
) -> bytes:
    """Draw the explanation on view; before the first one, the sample.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    buffer = BytesIO()
    if question is not None and explanation is not None:
        figure_of(study, question.sample, explanation).savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()
    require_matplotlib()
    from onnxshap.plot.canvas import BODY, SOFT, TITLE, Canvas
    from onnxshap.plot.images import show_photo

    samples = study.samples
    image = samples.form == "image"
    canvas = Canvas(4.2, 4.4 if image else 1.0)
    canvas.text(0.2, 0.2, samples.caption(sample), TITLE, bold=True)
    canvas.text(0.2, 0.5, "not explained yet: run the notebook", BODY, color=SOFT)
    if image:
        show_photo(canvas.axes(0.2, 0.8, 3.4, 3.4), samples.picture(sample) / 255)
    canvas.figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
