"""What surrounds the model when a rival answers a SQuAD file: windows, batches, run_qa's decoding, F1.

Written for speed (fast tokenizer, NumPy instead of Python loops), so that the rivals' figures are those of their engines.
"""

import collections
import json
import re
import string

import numpy as np

MAX_LENGTH, STRIDE, N_BEST, MAX_ANSWER = 384, 128, 20, 30


def load(path, part=0, parts=1):
    """Every parts-th paragraph, from `part` on: (id, question, context, gold answers) in the order of the file."""
    questions = []
    paragraphs = [p for article in json.load(open(path, encoding="utf-8"))["data"] for p in article["paragraphs"]]
    for paragraph in paragraphs[part::parts]:
        for qa in paragraph["qas"]:
            questions.append((qa["id"], qa["question"], paragraph["context"], [a["text"] for a in qa["answers"]]))
    return questions


def windows(tokenizer, questions):
    """All windows at once: the fast tokenizer works on both threads."""
    return tokenizer([q[1].lstrip() for q in questions], [q[2] for q in questions], truncation="only_second",
                     max_length=MAX_LENGTH, stride=STRIDE, return_overflowing_tokens=True, return_offsets_mapping=True)


def batches(encodings, size, length_sorted):
    order = range(len(encodings))
    if length_sorted:
        order = sorted(order, key=lambda w: len(encodings[w].ids))
    order = list(order)
    for begin in range(0, len(order), size):
        chosen = order[begin:begin + size]
        longest = max(len(encodings[w].ids) for w in chosen)
        ids = np.zeros((len(chosen), longest), np.int64)
        types, mask = np.zeros_like(ids), np.zeros_like(ids)
        for row, w in enumerate(chosen):
            n = len(encodings[w].ids)
            ids[row, :n], types[row, :n], mask[row, :n] = encodings[w].ids, encodings[w].type_ids, 1
        yield chosen, ids, types, mask


def answers_of(questions, sample_of_window, encodings, logits):
    """run_qa's post-processing for SQuAD v2 without padding, null threshold 0: prediction by question id."""
    by_question = collections.defaultdict(list)
    for window, sample in enumerate(sample_of_window):
        by_question[sample].append(window)
    predictions = {}
    for sample, (identifier, _, context, _) in enumerate(questions):
        candidates, null_score = [], None
        for w in by_question[sample]:
            start, end = logits[w]
            null = float(start[0] + end[0])
            null_score = null if null_score is None else min(null_score, null)
            types = np.asarray(encodings[w].type_ids)
            special = np.asarray(encodings[w].special_tokens_mask)
            allowed = (types == 1) & (special == 0)
            starts = np.argsort(start)[-1:-N_BEST - 1:-1]
            ends = np.argsort(end)[-1:-N_BEST - 1:-1]
            valid = allowed[starts][:, None] & allowed[ends][None, :]
            length = ends[None, :] - starts[:, None]
            valid &= (length >= 0) & (length < MAX_ANSWER)
            s, e = np.nonzero(valid)
            scores = start[starts[s]] + end[ends[e]]
            candidates += [(float(score), w, int(starts[i]), int(ends[j])) for score, i, j in zip(scores, s, e)]
        candidates.sort(key=lambda c: -c[0])
        best_text, best_score = "", float("-inf")
        for score, w, i, j in candidates[:N_BEST]:
            offsets = encodings[w].offsets
            text = context[offsets[i][0]:offsets[j][1]]
            if text:
                best_text, best_score = text, score
                break
        predictions[identifier] = "" if null_score > best_score else best_text
    return predictions


def answer_all(tokenizer, questions, infer, batch_size, length_sorted):
    encoded = windows(tokenizer, questions)
    encodings = encoded.encodings
    logits = [None] * len(encodings)
    for chosen, start, end in infer(batches(encodings, batch_size, length_sorted)):
        for row, w in enumerate(chosen):
            n = len(encodings[w].ids)
            logits[w] = (start[row, :n], end[row, :n])
    return answers_of(questions, encoded["overflow_to_sample_mapping"], encodings, logits)


def normalize(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(gold, prediction):
    gold, prediction = normalize(gold).split(), normalize(prediction).split()
    if not gold or not prediction:
        return float(gold == prediction)
    same = sum((collections.Counter(gold) & collections.Counter(prediction)).values())
    return 2 * same / (len(gold) + len(prediction))


def score(questions, predictions):
    """Mean F1 of evaluate-v2.0 in percent."""
    total = 0.0
    for identifier, _, _, golds in questions:
        golds = [g for g in golds if normalize(g)] or [""]
        total += max(f1(gold, predictions[identifier]) for gold in golds)
    return 100 * total / len(questions)
