"""TensorBoard: event files, a folder for each run. Its scalars are of 32 bits."""

from collections import OrderedDict
from collections.abc import Sequence

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from launch.mirrors.readings import Point, Run
from launch.mirrors.sinks import Place

_OPEN = 32  # runs at once; of one that is opened again TensorBoard reads both files


class TensorBoard:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._writers: OrderedDict[str, EventFileWriter] = OrderedDict()

    def write(self, run: Run, points: Sequence[Point], *, last: bool) -> None:
        writer = self._writers.pop(run.key, None) or self._open(run)
        for point in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            writer.add_event(Event(wall_time=point.time, step=point.step, summary=Summary(value=values)))
        writer.flush()
        if last:
            writer.close()
        else:
            self._writers[run.key] = writer

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _open(self, run: Run) -> EventFileWriter:
        while len(self._writers) >= _OPEN:
            self._writers.popitem(last=False)[1].close()
        # The file's name has this machine's; its content does not.
        return EventFileWriter(str(self._place.folder / run.unique_name))


def open_sink(place: Place) -> TensorBoard:
    return TensorBoard(place)
