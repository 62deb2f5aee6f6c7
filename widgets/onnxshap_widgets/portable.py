"""Widgets that are also a picture and a page, for where no kernel runs and no script is trusted."""

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import anywidget

from onnxshap.errors import InputError
from onnxshap_widgets.export import to_html

# JupyterLab shows a widget that it trusts but has no state of as an error, whatever else the output
# holds. A style sheet beside it draws the picture then, and nothing while the widget lives; where
# style sheets are not let in, the picture in the output itself is what shows.
_STAND_IN = """<style>
.jp-OutputArea:not(:has(.onnxshap)) .onnxshap-still::after {{
  content: url(data:image/png;base64,{picture}) / "{text}";
}}
.jp-OutputArea:has(.onnxshap-still):not(:has(.onnxshap)) .jupyter-widgets {{ display: none; }}
</style><div class="onnxshap-still"></div>"""


class Pictured:
    """Mixed into a widget: reopened, untrusted and exported notebooks show its picture."""

    def png(self) -> bytes:
        """Draw what the widget shows, as the bytes of a PNG file. Needs matplotlib."""
        raise NotImplementedError

    def _picture(self) -> str | None:
        """The picture in base64; None where there is no matplotlib."""
        with suppress(InputError):
            return base64.b64encode(self.png()).decode("ascii")
        return None

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]  # a widget's
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        picture = self._picture()
        return data | ({"image/png": picture} if picture else {}), metadata

    def _ipython_display_(self) -> None:
        from IPython.display import display

        bundle = self._repr_mimebundle_()
        if bundle is None:
            return
        data, metadata = bundle
        display(data, metadata=metadata, raw=True)  # type: ignore[no-untyped-call]
        if "image/png" in data:
            still = _STAND_IN.format(picture=data["image/png"], text=type(self).__name__)
            display({"text/html": still, "text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]


class Portable(Pictured, anywidget.AnyWidget):
    """A widget that draws in the browser, with its picture and its page."""

    def to_html(self, path: str | os.PathLike[str], title: str | None = None) -> Path:
        """Write one page that works alone, offline, with its controls; see `export.to_html`."""
        return to_html(self, path, title)
