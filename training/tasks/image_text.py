"""Images and captions of them. In no benchmark of XTREME's: its averages leave these targets out."""

from training.tasks import examples
from training.tasks.languages import XFLICKRCO
from training.tasks.presets import RETRIEVAL_TARGET, files_of
from training.tasks.task import Hub, Task

ENTRIES = (
    Task(  # XFlickr&CO of IGLUE (Bugliarello et al. 2022, arXiv 2201.11732), which reports the recalls at 1 alone
        name="xflickrco",
        format="image_text",
        metric_family="image_text",
        metric="mean_recall",
        licence="MIT (IGLUE's annotations); the captions' and images' own terms (Flickr30K, COCO)",
        languages=XFLICKRCO,
        parallel=True,  # not translations, but of the same images
        training_path="none",
        files=files_of(test="xflickrco/{lang}/test.jsonl xflickrco/features.safetensors", roles=("captions", "images")),
        sizes={"test": 2000},
        hub=Hub("", None, test=("test",)),
        target=RETRIEVAL_TARGET,
        example=examples.CAPTIONS,
    ),
)
