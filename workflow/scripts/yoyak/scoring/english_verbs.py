"""The verbs that English summaries of dialogues live on, and their forms."""

import re

_INFINITIVES = """
    accept admire admit advise agree answer apologize apply appreciate argue arrange arrive ask
    assist attend be become beg begin believe blame book borrow break bring buy call change chat
    check choose claim come comfort comment complain compliment confirm congratulate consult
    consider continue convince cook cost dance decide deny describe disagree discuss dislike doubt
    drink drive eat encourage enjoy envy examine exchange expect explain express fall feel fill find
    finish fit forget forgive gain get give go greet guide happen hate have hear help hold hope
    imagine inform inquire insist intend interview introduce invite join keep know learn leave lend
    let like listen live look lose love make meet mention miss move need negotiate notice offer open
    order owe pass pay persuade pick phone plan play praise prefer prepare promise propose provide
    purchase put quarrel reach read realize recall receive recommend refuse regret reject remember
    remind rent repair reply report request require return ring run say search see seem sell send
    serve share show sit sleep speak spend start stay stop study suggest support take talk teach
    tell thank think travel treat try understand use visit wait walk want warn watch welcome win
    wish wonder work worry write"""
_PASTS = """
    went/go got/get bought/buy thought/think took/take had/have made/make lost/lose left/leave
    saw/see told/tell heard/hear forgot/forget chose/choose said/say gave/give found/find felt/feel
    came/come knew/know met/meet did/do broke/break spent/spend sent/send paid/pay kept/keep
    became/become began/begin brought/bring ate/eat fell/fall taught/teach wrote/write won/win
    sold/sell ran/run"""
VERBS = frozenset(_INFINITIVES.split())
PAST: dict[str, str] = dict(pair.split("/") for pair in _PASTS.split())


def base_of(word: str, certain: bool = False) -> str | None:
    """Infinitive of a finite verb; None if the word is not known for one.

    Args:
        certain: take any word in -s for a verb.
    """
    if word in VERBS and word != "be":
        return word
    if word in PAST:
        return PAST[word]
    if word in ("has", "does"):
        return "have" if word == "has" else "do"
    if re.fullmatch(r"[a-z]+ed", word):
        stem = word[:-2]
        for base in (stem, stem + "e", stem[:-1] + "y" if stem.endswith("i") else "", stem[:-1]):
            if base in VERBS:
                return base
        return None
    if not re.fullmatch(r"[a-z]{2,}[^su'’]s|[a-z]+[aeiou]ses|[a-z]+us?es", word) or word == "this":
        return None
    if word.endswith("ies"):
        base = word[:-1] if len(word) == 4 else word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes", "oes")):
        base = word[:-2]
    else:
        base = word[:-1]
    return base if certain or base in VERBS else None


def with_s(base: str) -> str:
    if base == "have":
        return "has"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ies"
    return base + ("es" if base.endswith(("s", "sh", "ch", "x", "z", "o")) else "s")
