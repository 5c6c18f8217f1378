"""Stands for the package `mlebench` where an agent would grade its own work with it: submissions are validated, and no score is told.

Agents that were made for MLE-bench import its registry, its grader and, through them, the answers. There are no answers where an agent
runs, so each answer here is what the validation service says: whether a file is well formed. Scores, thresholds and medals are unknown.
Files that were found valid are kept below the working folder, in `validated/` or `graded/`, by number: agents of this kind often
remove a submission once they have its score.
"""
import dataclasses
import datetime
import json
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import types
import urllib.request
import uuid

COMPETITION = os.environ.get('COMPETITION_ID', '')
PUBLIC = pathlib.Path(os.environ.get('DATA_DIR', '/home/data'))
SERVICE = os.environ.get('MEDALIST_VALIDATE_URL', f'http://localhost:{os.environ.get("GRADING_SERVER_PORT", "5000")}/validate')
WORK = pathlib.Path(os.environ.get('AGENT_DIR', '/home/agent')).parent / 'work'
NOWHERE = WORK / 'there-are-no-answers'
BOARD = {'gold_threshold': None, 'silver_threshold': None, 'bronze_threshold': None, 'median_threshold': None,
         'gold_medal': False, 'silver_medal': False, 'bronze_medal': False, 'above_median': False}
last_kept = None


def is_lower_better(*_):
    """Which way the metric goes, which every brief says."""
    direction = os.environ.get('MEDALIST_DIRECTION')
    if direction not in ('lower', 'higher'):
        raise RuntimeError(f'MEDALIST_DIRECTION is {direction!r}, expected `lower` or `higher`')
    return direction == 'lower'


def ask(path):
    """Whether the service finds a file valid, and what it says."""
    edge = uuid.uuid4().hex
    head = f'--{edge}\r\ncontent-disposition: form-data; name="file"; filename="submission.csv"\r\n\r\n'.encode()
    body = head + path.read_bytes() + f'\r\n--{edge}--\r\n'.encode()
    headers = {'content-type': f'multipart/form-data; boundary={edge}', 'exp-id': COMPETITION}
    request = urllib.request.Request(SERVICE, body, headers)
    # No proxy: the service is this machine's.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
        said = json.load(reply)
    return bool(said['is_valid']), said['result']


def keep(path, kind):
    """Copies a file to a new folder and gives its number. Moving is one step: no half-written file is ever seen."""
    global last_kept
    folder = WORK / kind
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((int(place.name) for place in folder.iterdir() if place.name.isdigit()), default=0)
    place = folder / f'{number:04}'
    place.mkdir()
    shutil.copy(path, place / '.submission.csv')
    (place / '.submission.csv').rename(place / 'submission.csv')
    last_kept = number
    return number


def judge(submission, kind):
    path = pathlib.Path(submission)
    if not path.is_file():
        return False, f'Submission invalid! Submission file {path} does not exist.'
    if path.suffix.lower() != '.csv':
        return False, 'Submission invalid! Submission file must be a CSV file.'
    valid, said = ask(path)
    if valid:
        keep(path, kind)
    return valid, said


def validate_submission(submission, competition=None):
    return judge(submission, 'validated')


@dataclasses.dataclass
class CompetitionReport:
    competition_id: str
    score: float | None
    gold_threshold: float | None
    silver_threshold: float | None
    bronze_threshold: float | None
    median_threshold: float | None
    any_medal: bool
    gold_medal: bool
    silver_medal: bool
    bronze_medal: bool
    above_median: bool
    submission_exists: bool
    valid_submission: bool
    is_lower_better: bool
    created_at: datetime.datetime
    submission_path: str

    def to_dict(self):
        """As MLE-bench's, with the number under which the file was kept."""
        return {**dataclasses.asdict(self), 'created_at': self.created_at.isoformat(), 'kept': last_kept}


def grade_csv(path_to_submission, competition=None):
    path = pathlib.Path(path_to_submission)
    valid, _ = judge(path, 'graded')
    return CompetitionReport(COMPETITION, None, any_medal=False, submission_exists=path.is_file(), valid_submission=valid,
                             is_lower_better=is_lower_better(), created_at=datetime.datetime.now(), submission_path=str(path), **BOARD)


class Grader:
    name = 'validation alone'

    def __call__(self, submission, answers):
        return None

    def is_lower_better(self, leaderboard=None):
        return is_lower_better()

    def rank_score(self, score, leaderboard=None):
        return dict(BOARD)


class Competition:
    """The one competition of this attempt; answers and raw data lead nowhere."""

    def __init__(self, name):
        if name != COMPETITION:
            raise ValueError(f'there is no competition `{name}` here, only `{COMPETITION}`')
        self.id = self.name = name
        self.description = (PUBLIC / 'description.md').read_text(errors='replace')
        self.grader, self.public_dir = Grader(), PUBLIC
        self.private_dir = self.raw_dir = self.answers = self.gold_submission = NOWHERE
        self.sample_submission = next(iter(sorted(PUBLIC.glob('*ample*ubmission*.csv'))), PUBLIC / 'sample_submission.csv')
        self.leaderboard = pathlib.Path(tempfile.mkdtemp()) / 'leaderboard.csv'
        self.leaderboard.write_text('score\n')


class Registry:
    def set_data_dir(self, new_data_dir):
        return self

    def get_data_dir(self):
        return PUBLIC.parent

    def get_competition(self, competition_id):
        return Competition(competition_id)

    def list_competition_ids(self):
        return [COMPETITION]

    get_lite_competition_ids = list_competition_ids


def read_csv(*args, **kwargs):
    import pandas
    return pandas.read_csv(*args, **kwargs)


def read_jsonl(path, skip_commented_out_lines=False):
    lines = pathlib.Path(path).read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip() and not (skip_commented_out_lines and line.lstrip().startswith('//'))]


def purple(text):
    return text


def part(name, **members):
    module = types.ModuleType(f'mlebench.{name}')
    module.__dict__.update(members)
    sys.modules[module.__name__] = module
    globals()[name] = module


__path__ = []
part('registry', registry=Registry(), Registry=Registry, Competition=Competition)
part('grade', validate_submission=validate_submission, grade_csv=grade_csv)
part('grade_helpers', CompetitionReport=CompetitionReport, Grader=Grader, InvalidSubmissionError=type('InvalidSubmissionError', (Exception,), {}))
part('data', download_and_prepare_dataset=lambda *_, **__: None, is_dataset_prepared=lambda *_, **__: True,
     ensure_leaderboard_exists=lambda competition, **_: competition.leaderboard, get_leaderboard=lambda competition: read_csv(competition.leaderboard))
part('utils', get_logger=logging.getLogger, get_timestamp=lambda: datetime.datetime.now().strftime('%Y-%m-%dT%H-%M-%S'), load_answers=lambda _: None,
     purple=purple, read_csv=read_csv, read_jsonl=read_jsonl)
