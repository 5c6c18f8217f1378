"""The mean, or the shares of the classes: what is left when a model does not run."""
# {{MARK}}
import csv
import json
import os
import pathlib
import shutil
import sys

data = pathlib.Path(os.environ.get("DATA_DIR", "{{DATA}}"))
source = sorted(data.glob("[sS]ample*ubmission*.csv"))[0]
shutil.copyfile(source, "{{OUT}}")
{{KEEP}}
print("the sample submission stands in; no score")
