#include "data/refusal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define HEAD_BYTES 240

/* lower case, straight apostrophes; non-ASCII letters as they are written in running text */
static const char *const phrases[] = {"as an ai language model",
                                      "as a large language model",
                                      "as an ai assistant, i can",
                                      "as an ai, i can",
                                      "as an ai, i am not able",
                                      "as an ai, i'm not able",
                                      "i'm just an ai",
                                      "i am just an ai",
                                      "sorry, but i can't",
                                      "sorry, but i cannot",
                                      "sorry, i can't help",
                                      "sorry, i can't assist",
                                      "sorry, i cannot help",
                                      "sorry, i cannot assist",
                                      "sorry, but i'm not able to",
                                      "sorry, but i am not able to",
                                      "sorry, but i'm unable to",
                                      "sorry, but i am unable to",
                                      "i apologize, but i can't",
                                      "i apologize, but i cannot",
                                      "i apologize, but i'm unable",
                                      "i apologise, but i cannot",
                                      "i can't help with that",
                                      "i can't help you with that",
                                      "i cannot help with that",
                                      "i can't assist with",
                                      "i cannot assist with",
                                      "i'm unable to assist",
                                      "i am unable to assist",
                                      "i'm not able to help with",
                                      "i am not able to help with",
                                      "i can't fulfill",
                                      "i cannot fulfill",
                                      "i can't comply",
                                      "i cannot comply",
                                      "i can't provide assistance",
                                      "i cannot provide assistance",
                                      "i must decline",
                                      "i won't be able to help with",
                                      "i'm not able to assist",
                                      "i am not able to assist",
                                      "i cannot in good conscience",
                                      "against my guidelines",
                                      "against my programming",
                                      /* de */ "als ki-sprachmodell",
                                      "als ki-modell",
                                      "als ki kann ich",
                                      "tut mir leid, aber ich kann",
                                      "dabei kann ich nicht helfen",
                                      "dabei kann ich dir nicht helfen",
                                      "dabei kann ich ihnen nicht helfen",
                                      "entschuldigung, aber ich kann",
                                      /* fr */ "en tant que modèle de langage",
                                      "en tant qu'ia",
                                      "je suis désolé, mais je ne peux",
                                      "désolé, mais je ne peux",
                                      "je ne peux pas vous aider",
                                      "je ne peux pas répondre à cette",
                                      /* es */ "como modelo de lenguaje",
                                      "como una ia",
                                      "lo siento, pero no puedo",
                                      "no puedo ayudarte con eso",
                                      "no puedo ayudarle con eso",
                                      /* it */ "come modello linguistico",
                                      "mi dispiace, ma non posso",
                                      "non posso aiutarti con",
                                      /* pt */ "como um modelo de linguagem",
                                      "como modelo de linguagem",
                                      "desculpe, mas não posso",
                                      "sinto muito, mas não posso",
                                      "não posso ajudar com isso",
                                      /* nl */ "als ai-taalmodel",
                                      "het spijt me, maar ik kan",
                                      "sorry, maar ik kan",
                                      /* pl */ "jako model językowy",
                                      "przykro mi, ale nie mogę",
                                      "przepraszam, ale nie mogę",
                                      /* sv, da */ "som en ai-språkmodell",
                                      "tyvärr kan jag inte hjälpa",
                                      "som en ai-sprogmodel",
                                      /* ru */ "как языковая модель",
                                      "Как языковая модель",
                                      "я не могу помочь с этим",
                                      "но я не могу помочь",
                                      /* tr */ "bir yapay zeka dil modeli olarak",
                                      /* zh */ "作为一个人工智能",
                                      "作为人工智能语言模型",
                                      "作为一个ai",
                                      "我无法协助",
                                      "我无法提供帮助",
                                      "抱歉，我无法",
                                      "抱歉，我不能",
                                      "对不起，我无法",
                                      "对不起，我不能",
                                      /* ja */ "申し訳ありませんが、お手伝いできません",
                                      "ai言語モデルとして",
                                      "申し訳ございませんが、お答えできません",
                                      "そのご要望にはお応えできません",
                                      /* ko */ "죄송하지만 도와드릴 수 없습니다",
                                      "ai 언어 모델로서",
                                      /* ar */ "كنموذج لغوي",
                                      "عذرًا، لا أستطيع",
                                      "آسف، لكن لا يمكنني",
                                      /* hi */ "एक एआई भाषा मॉडल के रूप में"};
#define PHRASE_COUNT (sizeof phrases / sizeof *phrases)

/* Which three bytes a phrase may begin with, hashed to a bit: nearly all words of an answer begin
 * none, and are passed over at once. */
static uint64_t openings[64];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned opening_of(const char *p) {
    unsigned a = (unsigned char)p[0], b = (unsigned char)p[1], c = (unsigned char)p[2];
    return (a * 0x9E5u + b * 0x3B1u + c * 0x47u) & 4095;
}
static void openings_fill(void) {
    for (size_t i = 0; i < PHRASE_COUNT; i++) {
        unsigned bit = opening_of(phrases[i]);
        openings[bit / 64] |= (uint64_t)1 << (bit % 64);
    }
}

/* lower case of ASCII, typographic apostrophes made straight; returns its length */
static size_t head_of(struct str s, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < HEAD_BYTES; i++) {
        char c = s.p[i];
        if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
        if (i + 2 < s.n && memcmp(s.p + i, "\xE2\x80\x99", 3) == 0) {
            c = '\'';
            i += 2;
        }
        out[n++] = c;
    }
    return n;
}

static bool inside_word(const char *head, size_t at) {
    unsigned char before = at ? (unsigned char)head[at - 1] : 0;
    return before >= 'a' && before <= 'z';
}

const char *refusal_find(struct str answer) {
    char head[HEAD_BYTES];
    size_t n = head_of(answer, head);
    pthread_once(&once, openings_fill);
    for (size_t at = 0; at + 3 < n; at++) {
        unsigned bit = opening_of(head + at);
        if (!(openings[bit / 64] >> (bit % 64) & 1)) continue;
        if (inside_word(head, at)) continue;
        struct str here = {head + at, n - at};
        for (size_t i = 0; i < PHRASE_COUNT; i++)
            if (phrases[i][0] == head[at] && str_starts(here, str_of(phrases[i])))
                return phrases[i];
    }
    return NULL;
}
