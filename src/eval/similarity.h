/* How alike two texts are, 0 to 1, by the names that OpenAI's text_similarity grader gives to the
 * metrics, each equal to the Python package that people know it from (docs/graders.md):
 *
 *   fuzzy_match         rapidfuzz.fuzz.ratio / 100
 *   bleu                sacrebleu.sentence_bleu / 100 (13a, exponential smoothing)
 *   gleu                nltk sentence_gleu of words between white space
 *   meteor              nltk meteor_score of the same, without WordNet: exact words and stems
 *   rouge_1 ... rouge_5, rouge_l   rouge-score, F1, no stemmer
 *
 * and two more: token_f1 (SQuAD), word_cosine (counts of words, as scikit-learn). "cosine" means
 * embeddings to the API; it is not here. Pure functions of UTF-8 text, any thread. */
#ifndef EVAL_SIMILARITY_H
#define EVAL_SIMILARITY_H

#include "base/err.h"
#include "base/str.h"

struct similarity; /* a metric */

/* ERR_UNSUPPORTED for a name that is none, with the list of those that are. */
int similarity_find(struct str name, const struct similarity **ret, struct err *err);
/* ERR_LIMIT for texts of more than TEXT_UNITS_MAX words or characters. */
int similarity_score(const struct similarity *s, struct str input, struct str reference,
                     double *ret, struct err *err);

#endif
