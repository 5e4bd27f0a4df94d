import urllib.error
import urllib.request

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, float]


def get(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page; status 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


#: The labels of every sample.
SCOPE = ("stream", "group")


def scrape(port: int) -> Samples:
    """The samples of /metrics, each named as Prometheus writes it, without the scope that all of them have."""
    status, text = get(port, "/metrics")
    return parse(text, leave_out=SCOPE) if status == 200 else {}


def samples_of(registry: CollectorRegistry) -> Samples:
    """The samples of a registry."""
    return parse(generate_latest(registry).decode())


def parse(text: str, leave_out: tuple[str, ...] = ()) -> Samples:
    """`name{label="value",…}` -> value, labels in alphabetical order."""
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(
                f'{name}="{value}"' for name, value in sorted(sample.labels.items()) if name not in leave_out
            )
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples
