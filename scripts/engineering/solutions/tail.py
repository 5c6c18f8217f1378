def guess_with(model, x, classes):
    return chances(model, x) if classes is not None else model.predict(x)


def write(guess, classes, path):
    """The answer in the sample's form, in the order of the sample's rows."""
    out = SAMPLE.copy()
    if classes is None:
        out[TARGETS[0]] = np.maximum(guess, 0) if METRIC == "rmsle" else guess
    elif len(TARGETS) > 1:
        names = [str(name) for name in classes]
        for target in TARGETS:
            name = target if target in names else target.rsplit("_", 1)[-1]
            out[target] = guess[:, names.index(name)]
    elif METRIC in ("roc_auc", "log_loss"):
        out[TARGETS[0]] = guess[:, -1]
    else:
        out[TARGETS[0]] = classes[guess.argmax(axis=1)]
    out.to_csv(path, index=False)


def main():
    x, y, test, folds = load()
    is_number = METRIC in ("rmsle", "rmse", "mae")
    classes = None if is_number else np.unique(y)
    say(f"{len(y)} rows to learn from, {test.shape[0]} to predict, model {MODEL}")
    best = None
    for setting in SETTINGS:
        held = np.full((len(y), len(classes)) if classes is not None else len(y), np.nan)
        for fit, check in folds:
            held[check] = guess_with(make(**setting).fit(x[fit], y[fit]), x[check], classes)
        seen = ~np.isnan(held.reshape(len(y), -1)).any(axis=1)
        value = float(score(y[seen], held[seen], classes))
        say(f"setting {setting}: {METRIC} {value:.5f}")
        if better(value, best and best[0]):
            best = value, setting, held
    value, setting, held = best
    model = make(**setting).fit(x, y)
    guess = guess_with(model, test, classes)
    write(guess, classes, "{{OUT}}")
    {{SAVE}}
    result = {"score": round(value, 6), "higher_is_better": not LOWER_IS_BETTER, "metric": METRIC, "model": MODEL, "setting": setting}
    say(f"cross-validation says {METRIC} {value:.5f} with {setting}")
    {{KEEP}}
    print("RESULT " + json.dumps(result))


{{ENTRY}}
