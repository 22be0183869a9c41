"""Cues hides the words that give a named thing its role: wanted, unwanted, seen, liked, similar to.

These are the rules. Where they do not speak clearly they say so, and a model is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from llmrec.lexicon import Marked, Span
from llmrec.quantities import flat

__all__ = ["DEFAULT_ROLE", "ROLES", "Reading", "Turn", "read_cues"]

Turn = Literal["add", "replace", "reset"]

# The roles that each kind of span can have; the first is what is meant when nothing is said.
ROLES: dict[str, tuple[str, ...]] = {
    "title": ("similar", "liked", "disliked", "seen", "none"),
    "person": ("yes", "director", "no", "none"),
    "genre": ("yes", "no", "none"),
    "keyword": ("yes", "no", "none"),
    "country": ("yes", "no", "none"),
    "language": ("yes", "no", "none"),
    "year": ("yes", "none"),
    "runtime": ("yes", "none"),
    "price": ("yes", "none"),
    "critique": ("yes", "none"),
    "unknown": ("yes", "none"),
}
DEFAULT_ROLE = {kind: roles[0] for kind, roles in ROLES.items()}


@dataclass(frozen=True)
class Reading:
    """What one message says of its spans.

    Attributes
    ----------
    roles: by mark; one of ROLES, or None where the rules are not sure.
    guesses: by mark, what the rules would say if nobody else could.
    either: marks of wanted things of which one is enough ("action or comedy").
    turn: how the message stands to what was said before; None where the rules are not sure.
    doubtful: marks of wishes that are told of somebody rather than asked for.
    more: whether films like the ones liked or seen are asked for ("something like it").
    cleared: kinds of wishes that the message gives up ("any genre will do").
    """

    roles: dict[str, str | None] = field(default_factory=dict)
    guesses: dict[str, str] = field(default_factory=dict)
    either: frozenset[str] = frozenset()
    turn: Turn | None = "add"
    doubtful: frozenset[str] = frozenset()
    more: bool = False
    cleared: frozenset[str] = frozenset()


_NOT_THAT_NOT = re.compile(
    r"\b(?:(?:it'?s |it is )?not that i (?:d(?:o|id) ?n[o']?t|dislike|hate)(?: like)?|nao e que (?:eu )?nao (?:goste|curta)|no es que no me gust\w+)\b"
)
_NOT_NEGATION = re.compile(
    r"\b(?:not only|not just|(?:it'?s |it is )?not that i (?:d(?:o|id) ?n[o']?t|dislike|hate)(?: like)?|(?:i )?would ?n['o]?t (?:mind|say no to)|never (?:get )?tired of|never (?:seen|watched|heard)|have ?n[o']?t (?:seen|watched|heard)|ca ?n[o']?t stop|ca ?n[o']?t get enough of|i do ?n[o']?t mind|do ?n[o']?t mind|do ?n[o']?t (?:really )?(?:know|care|remember)|not (?:really )?sure|"
    r"why not|you ca ?n[o']?t find|no (?:problem|worries|idea|hurry)|no matter|if not|or not|ca ?n[o']?t (?:remember|decide|wait)|nothing (?:special|specific|in particular)|"
    r"nao e que (?:eu )?nao (?:goste|curta)|nao me importari\w+|nunca (?:me )?cans\w+|nao seria (?:ruim|mau)|nao me canso de|"
    r"nunca (?:vi|assisti|he visto)|nao para de|no para de|"
    r"no es que no me gust\w+|no me importari\w+|no estaria mal|no me canso de|"
    r"nao (?:entendo|sei|conheco|manjo)(?: quase)? nada d[eoa]|(?:nao|nunca) (?:vi|assisti|conheco) nada|nao tem (?:um|uma|algum|alguma|nada)|(?:no|nunca) he visto nada|no (?:tienes|tenes|hay) (?:algo|alguna?|una?)|nao existe\w*|nunca fui (?:muito )?de|nunca parei|(?:nao|nunca) (?:vi|assisti|conheco)|nao (?:so|apenas|me importo|ligo|sei(?: bem)?|lembro|tenho certeza|consigo decidir|importa|vejo a hora)|tanto faz|se nao|por que nao|sem (?:problemas?|pressa)|mais ou menos|pelo menos|ao menos|"
    r"no (?:se|entiendo|conozco) (?:casi )?nada de|no existe\w*|nunca fui (?:mucho )?de|(?:no|nunca) (?:he visto|conozco)|no (?:solo|me importa|se|recuerdo|estoy segur[oa]|importa)|por que no|si no|sin (?:problemas?|prisa)|mas o menos|al menos|por lo menos|nada mas|nada mais|nada em especial|nada en especial|ca[çc]?a? nada|a no ser)\b"
)
_NEGATIVE = (
    r"\b(?:do(?:es)? ?n[o']?t (?:want|like|need|feel like|fancy|enjoy|care for|give me|show me|suggest|recommend|include|be)|"
    r"(?:not|n[o']?t) (?:in the mood for|into|a fan of|feeling)|(?:not|never|non(?=-)|zero|spare me|hard pass on|pass on|so done with|done with|had enough of|i'?m off|bar|sans|must ?n[o']?t be|should ?n[o']?t be|ai ?n[o']?t|nothing|none|neither|nor|without|w/o|wihtout|except(?: for)?|excluding|exclude|avoid(?:ing)?|besides|minus|skip|"
    r"anything but|everything but|other than|apart from|hate|dislike|ca ?n[o']?t stand|tired of|sick of|fed up with|bored (?:of|with)|enough of|instead of|rather than|leave out|set aside|less|no more|isnt|arent|dont|doesnt|wont)|"
    r"is ?n['o]t|are ?n['o]t|wo ?n[o']t|do ?n[o']t|ca ?n[o']t|"
    r"nao (?:quero|queria|gosto|curto|suporto|aguento|precisa|pode|seja|sejam|tenha|tenham|envolva|me (?:manda|indique|recomende|sugira)|estou a fim|to a fim|to afim)|"
    r"corta (?:os|as|o|a|tudo)|me poup\w+ d[eoa]s?|deus me livre d[eoa]s?|exclui\w*|(?:quero )?distancia d[eoa]s?|cansei d[eoa]|nao|nada|sem|exceto|menos|tirando|tira|tirar|remove|pula|evit\w+|odeio|detesto|nem|nunca|(?:cansad|enjoad|fart|chei)[oa]s? de|fora|nenhum|nenhuma|dispenso|salvo|a nao ser|em vez d[eoa]s?|ao inves d[eoa]s?|passo longe|chega de|"
    r"paso de|ahorra\w*|a excepcion de|alergic[oa]s? a|exclu[iy]\w*|cero|(?:me )?(?:tiene|tienen) podrid[oa]s?|me caen? (?:gord[oa]s?|mal|fatal)|sin|excepto|ni|tampoco|odio|detesto|(?:hart|cansad|aburrid)[oa]s? de|quita\w*|fuera|jamas|ningun|ninguna|en vez de|en lugar de|basta de|evita\w*|no soporto|no aguanto|quitar|prohibid[oa]|hasta (?:el mono|las narices|la coronilla) de|de saco cheio de|odiamos|odian?|detestamos|detesta|hates|we hate|odeia|saturad[oa]s? de)\b"
)
_SLANG_PT = r"|\bn (?:seja|sejam|quero|gosto|curto|tenha|pode|precisa)\b|\bnaum\b"
_DOUBLE = re.compile(  # "nothing that is not a comedy"
    r"(?:\b(?:nada|nothing|not|dont|no quiero|nao quero|nao|ningun\w*|nenhum\w*|no)|n['o]t)\b(?:\s+\w+){0,3}\s+"
    r"(?:que (?:nao|no) (?:seja|sejam|sea|sean|tenha|tenham|tenga|tengan)|that (?:is|are|does|do)(?: not|n'?t)(?: have)?|sin|sem|without|but|other than|salvo|exceto|excepto)\s+(?:\w+\s+){0,3}$"
)
_CORRECTION = re.compile(
    r"\b(?:no|nao|nah)\b,? (?:wait|espera|pera|perai|calma|melhor|mejor|better|actually|digo)|\b(?:scratch that|mentira|minto|quer dizer|quiero decir|i mean(?:t)?|on second thoughts?|pensando bem|pensandolo bien|ou melhor|o mejor dicho|mejor dicho|melhor dizendo|mudei de ideia|cambie de idea|no wait|wait,? no)\b"
)
_NO_WISH_BEFORE = re.compile(  # a nationality that is not the film's, or a language being learnt
    r"(?:\b(?:actor|actress|ator|atriz|actriz|director|diretora?|directora|singer|cantora?|cantante|friends?|amig[oa]s?|namorad[oa]|novi[oa]|colegas?|companer[oa]s?|jef[ea]|chefe|boss|coworkers?|roommate|flatmate|vecin[oa]s?|vizinh[oa]s?|profe\w*|teacher|wife|husband|marido|esposa|"
    r"my|meu|minha|mi|practi[cs]e|praticar|treinar|practicar|aprend\w+|learn(?:ing)?|estud\w+|study(?:ing)?|moro n[oa]|vivo en|live in|viaj\w+ (?:pra|para|por|a)|trip to|heading to|moved to|grew up in|born in|visiting from|"
    r"our|his|her|their|meus|nosso|nossa|mis|nuestr[oa]|i'?m(?: an?)?|i am(?: an?)?|im(?: an?)?|sou(?: um| uma)?|soy(?: un| una)?|works? as an?|on an?|at|been)\s+)$"
)
_NEED_NOT = re.compile(
    r"\b(?:(?:does|do|need)(?: ?n[o']?t| not) (?:have to|need to|necessarily)?\s*(?:be|have)|need ?n[o']?t be|nao precisa(?:m)? (?:ser|ter)|no (?:hace falta|tiene|tienen) que (?:sea|ser|tenga)|no tiene por que ser|no necesita ser)\b(?:\s+\w+){0,2}\s*$"
)
_FINE = re.compile(
    r"^\s*(?:(?:is|are|would be|'s) (?:fine|ok|okay|all right|good too)|(?:tambem )?pode(?:m)?(?: ser)?(?=[\s,.!]|$)|tudo bem|tambien vale|(?:me )?vale|esta bien)\b"
)
_EITHER = re.compile(
    r"\b(?:either(?: one| way)?(?: of (?:them|those|the two))?(?:,| is| works| would| will|$|\.)|one of the two|any of (?:the|those|them)|whichever|tanto faz|qualquer um[a]?(?: d[oae]\w+)?|um dos dois|uma das duas|cualquiera(?: de (?:las|los) \w+)?|un[oa] de l[oa]s dos|me da igual cual|both do)\b"
)
_MORE_LIKE_IT = re.compile(
    r"\b(?:(?:something|anything|things?|more|others?|ones?|films?|movies?|stuff|another(?: one)?|what else|similar) (?:is )?(?:like|similar to|along the lines of|in the (?:vein|style) of|as good as) (?:it|that|this|them|those|these|both)|comparable|similar(?: ones?| films?| movies?)?(?= for|[?.!,]|$)|(?:in )?(?:that|the same|this) vein|more of (?:the same|that|those|these)|(?:want|need|give me|show me) more(?: please)?(?=[.!?,]|$)|"
    r"(?:algo|algum|alguma|outr[oa]s?|mais|filmes?) (?:parecid[oa]s?|similar(?:es)?|assim|do tipo|do genero|nesse (?:estilo|clima|nivel)|nessa (?:linha|pegada|vibe)|como (?:esse|ele|ela|eles|essa)s?|na mesma (?:linha|pegada|vibe)|no mesmo (?:estilo|clima|nivel))|mais (?:dess[ea]s|filmes assim)|"
    r"(?:algo|alguna|otr[oa]s?|mas|peliculas?|pelis?) (?:parecid[oa]s?|similar(?:es)?|asi|por el estilo|de ese (?:estilo|tipo|rollo)|en (?:esa|la misma) (?:linea|onda)|como (?:esa|ese|ella|esas)|del (?:mismo )?estilo)|mas de (?:eso|esas))\b"
)
_NOT_HIS = re.compile(
    r"\b(?:que nao seja d(?:ele|ela)|(?<!visto )(?<!vi )(?<!assisti )nada (?:suy[oa]|del[ea])|leave (?:his|hers|him|her)(?: stuff| ones)? out|(?:not|anything but|without) (?:him|her)\b|nothing (?:of|by) (?:his|hers|him|her)|sem el[ea]\b|sem ser d(?:ele|ela)|que no sea (?:suy[oa]|de el|de ella)|not (?:by|one of|from) (?:him|her|his|hers)|by someone else|de outro diretor|de otro director)\b"
)
_REFUSED = re.compile(  # "don't want", "no me gusta": the verb belongs to the negation
    r"\s*(?:(?:me|te|nos|le|really|muito|mucho|i|eu|yo|you|to|a fim de|ver|to watch|to see)\s+)*"
    r"(?:quer\w*|quier\w*|quisiera\w*|gost\w*|curt[oeiaiu]\w*|gust\w*|encant\w*|want\w*|need\w*|like|love|adoro|necesit\w*|"
    r"precis\w*|busc\w*|procur\w*|recom\w*|suger\w*|sugir\w*|indi[cq]\w*|suggest\w*|manda\w*|apetec\w*|interes\w*)\b"
)
_REQUEST = re.compile(
    r"\b(?:want|wanna|looking for|i'?d (?:like|love|take|rather|sooner)|i would (?:like|love)|need|give|suggest\w*|recommend\w*|could you|can you|find (?:me|us)|please|pls|has to be|must|should|let'?s|make it|preferably|ideally|something|anything|got any|any (?:good )?\w+ (?:films?|movies?)|in the mood|that'?s what i'?m after|i'?m after|would (?:do|be|suit)|will do|for contrast|how about|"
    r"quer[oe]\w*|queria|queremos|gostaria|preciso|precisamos|procuro|procurando|busco|buscando|me (?:indica|indique|recomend\w+|sugere|sugira|passa|da|arranja|arruma|manda|ve|acha)|recomend\w+|suger\w+|indica\w*|algo|alguma?s?|algum|por favor|porfa\w*|pfv|de preferencia|tem que|que (?:seja|sejam|sea|sean|nao|no|dure|tenha|tenga|passe|pase)|prefir?o|prefer\w*|tem (?:algum|um|uma)|vai ser|pode ser|"
    r"quier\w*|quisiera|necesito|dame|danos|ponme|pon\b|echame|tirame|mandame|recomiend\w*|sugier\w*|alguna?s?|algun|prefier\w*|me apetece|me provoca|me vendria|hay (?:alguna|algo)|tienes|tenes|tiene que|solo pido|punto medio)\b"
)
_BACKGROUND = re.compile(
    r"\b(?:(?:my|his|her|our|their)(?: \w+){0,2} (?:sister|brother|mum|mom|dad|father|mother|wife|husband|girlfriend|boyfriend|gf|bf|friends?|mate|roommate|flatmates?|boss|uncle|aunt|nan|gran\w*|kids?|son|daughter|cousin|teacher|therapist|partner|ex|neighbou?rs?|coworker|colleagues?|students?|nephews?|niece|sogra|date|town)\b|grandpa|grandma|mum'?s|"
    r"(?:he|she|they|everyone|everybody|someone|people|dave)(?:'s|'re)? \w+|i (?:was|used to|teach|taught|work\w*|ran|broke|wrote|lived?|grew|went|had|spent|met|just finished|remember|don'?t get)|i'?m (?:an?|on|in|writing|learning|cooking|stuck)|we (?:had|went|were|used)|last (?:night|week|month|summer|weekend)\w*|yesterday|looks like|finished a|"
    r"(?:meus?|minhas?|nossos?|nossas?) \w+|(?:ele|ela|eles|elas|todo mundo|o pessoal|marido|filha|filho|vovo|a turma|colegas) \w+|sou (?!fa)\w+|moro|trabalho|trabalhei|to (?:com|de|aprendendo|numa)|estou \w+|terminei|herdei|faz \w+ (?:anos|meses|uns)|ontem|outro dia|(?:semana|mes|ano) passad[oa]|quebrou|citou|falaram|me falaram|confesso|os \w+ daqui|"
    r"(?:mis?|nuestr[oa]s?|sus?) \w+|a (?:el|ella) le|soy (?!fan|mas)\w+|vivo|trabaje|estoy (?:aprendiendo|preparando|escribiendo|en)|vengo|viajo|escribo|ando|me rompi|ayer|anoche|la semana pasada|el otro dia|todo el mundo|unos? (?:amigos?|senor)|uno propuso|otro queria|otra queria|antes me|una? amig[oa]|en la tienda|me acaban|un senor|me baje)\b"
)
_TOPICS = frozenset({"genre", "keyword"})
_CONTENT = frozenset({"genre", "person", "keyword", "country", "language", "title"})
_OR_LIST = re.compile(r"\s*(?:,|or|ou|o|u|nor|nem|ni|/)\s*$")
_TOGETHER = re.compile(r"\b(?:junt[oa]s|together)\b")
_AFTER_YES = re.compile(
    r"^\s*,?\s*(?:em cambio |en cambio )?(?:sim|si|yes|pode|vale|rola)(?=\s*(?:[,.!]|$))"
)
_TOO = re.compile(
    r"^\s*,?\s*(?:too|also|as well|tambem|tambien|tampoco|tb|neither|either)(?=\s*(?:[,.!]|$))"
)
_OR_NOT = re.compile(r"^\s*(?:or|ou|o) (?:not|nao|no)\b")
_NO = r"|\bno\b(?! maximo| minimo)"  # in Portuguese "no" is "in the"
_POSITIVE = re.compile(
    r"\b(?:\w+\s+(?:so|entao|asi que|por eso|por isso)|should|must|needs? to|has to|tem que|deve|deveria|tiene que|debe|deberia|but|mas|pero|porem|sino|except(?:ion)?|just|only|apenas|somente|want|wants|wanna|quero|queremos|queria|prefiro|preferia|quiero|queremos|quisiera|prefiero|prefer|"
    r"rather(?! than)|give me|looking for|in the mood for|procuro|procurando|busco|buscando|i (?:like|love|need)|gosto|curto|adoro|me gustan?|me encantan?|necesito|preciso|let'?s|show me|"
    r"something|algo|alguma coisa|alguna cosa|maybe|talvez|quiza|quizas|tal vez|please|manda|recomend\w+|suger\w+|sugir\w+|indi(?:ca|que)\w*|suggest|recommend|i'?d like|gostaria|me gustaria)\b"
)
_CLAUSE_END = re.compile(r"[.!?;\n:]|,(?=\s)|\s[-–—]\s|\(|\)")
FAR = 240  # characters that a cue may be away
_HARD_END = re.compile(r"[.!?;\n]")
_AFTER_NO = re.compile(
    r"(?:['’]s)?\s*[,?:]?\s*(?:(?:also |too |tambem |tb |tampoco |so |eu |yo |pra mim |a mi )*(?:(?:are|is|'s|to|toy|esta[no]?|estao|ta|ficam?|queda[n]?)? ?(?:out|fora|afuera|fuera)\b(?! of)|(?:god |hell |oh |dear god )no\b|tampoco\b|tb nao\b|tambem nao\b|"
    r"(?:excluded|excepted|excluid[oa]s?|descartad[oa]s?)\b|(?:is|'s|are) off the table|(?:are|is) not allowed|i (?:cannot|can ?n[o']t) (?:abide|stand)|(?:is|are)? ?(?:the one )?\w* ?i never want|does ?n[o']t appeal|bores? me|me aburre\w*|a miss\b|passo\b|paso\b|ni loc[oa]|ni en pintura|ni muert[oa]|nem mort[oa]|nem pintad\w+|nem (?:a pau|fodendo|ferrando|que)|"
    r"(?:nao (?:e|sao) (?:a )?minha)|(?:is |are )?a no-go|(?:para mi )?es un no\b|no l[aoe]s? (?:aguanto|soporto|trago)|(?:nao (?:rola|encaro|aguento|suporto|engulo|da|me interessa\w*))|(?:no me (?:interesa\w*|gusta\w*|van?|apetece\w*|copan?))|eu (?:dispenso|boicoto|passo|odeio|detesto)|no(?=,? (?:gracias|thanks|eh|please|por favor|obrigad[oa]))|nao(?=,? (?:obrigad[oa]|por favor|hein|ne\b|mesmo)))|"
    r"nao(?=\s*(?:[,.!?;]|$))|nem pensar|no(?=\s*(?:[,.!?;]|$))|nope|no thanks|no,? gracias|out\b|jamais|jamas|nunca|ni hablar|never|fora\b|not? (?:really|for me|today|tonight)|"
    r"(?:esta |ta )?(?:fora|descartad[oa]|de fora)|(?:nao|no) entra\b|out of it|no (?:puede|puedo)\b|nao (?:consigo|posso)\b|is (?:out|a no|banned|off the table)|(?:esta )?(?:proibid[oa]|prohibid[oa]|vetad[oa])|is not|isn'?t|are not|nao (?:quero|rola|curto|gosto|apareca|esteja|participe|atue)|no (?:salga|aparezca|este|actue|quiero|me apetece)|is ?n[o']t in(?: it)?|does ?n[o']t (?:appear|star))"
)
_CONNECT = re.compile(
    r"^\s*(?:,|/|&|\+|-|\?|\.\.\.)?\s*(?:or|and|ou|e|o|y|u|nor|nem|ni|and/or|e/ou|y/o|&|as well as|also|ou ainda|mais)?\s*(?:the|of|with|by|from|some|a|an|any|even|de|do|da|dos|das|com|o|os|as|um|uma|la|el|los|las|con|del|un|una|muit[oa]|muy|too|that|is|are|que|tenha|ser|filmes?|films?|movies?|pelis?|peliculas?|in|em|en|directed by|in the|dirigid[oa] por)?(?:\s+(?:the|de|do|da|la|el|o|a))?\s*$"
)
_OR = re.compile(r"\b(?:or|ou|nor|either)\b|/")
_OR_ES = re.compile(r"\b(?:or|ou|nor|either|o|u)\b|/")  # in Portuguese "o" is "the"
_LIST_WORD = re.compile(r"\b(?:or|ou|o|u|nor|nem|ni|and|e|y)\b|/|&")

_LIKED = r"\b(?:(?:i|we|they|he|she|who|and|also|really|absolutely|friends?|wife|husband|kids?)(?:'ve|'m)? (?:(?:really|absolutely|also|always|just|both|all|totally) )*(?:(?:did |do )?like|liked|likes|love|loved|loves|enjoy|enjoyed|adore|adored)|loved|enjoyed|loving|love|liked|adored|(?:big |huge )?fans? of|favou?rites?(?: \w+){0,3}(?: is| are|:)?|gostei|gosto|gostamos|gosta|gostam|gostou|gostaram|adorei|adoro|adora|adoramos|adorou|amei|amo|amamos|amou|curti|curto|curte|curtiu|disfrute de(?: verdad)? fue|favorit[oa]s?(?: \w+){0,2}(?: e| sao|:)?|apaixonad[oa]s? p(?:or|el[oa])|fa d[eoa]|me gust(?:o|a|aron|an)|nos gust(?:o|a|aron)|le gust(?:o|a)|me encant(?:o|a|aron|an)|nos encanto|me fascin[oa]|me flip[oa]|(?:me|nos) ha(?:n)? (?:encantado|gustado)|soy (?:mas )?(?:muy )?(?:fan )?de|ame|adore|disfrute|fan de)\b"
_DISLIKED = r"\b(?:(?:was|were|am|'m|is) ?n[o']?t (?:really )?(?:impressed by|a (?:big |huge )?fan of|into|crazy about)|not (?:a (?:big |huge )?fan of|into)|fell asleep (?:during|in|watching)|(?:could ?n[o']t|did ?n[o']t) finish|gave up on|bored by|dormi (?:n[oa]|vendo|en|con|viendo)|larguei|desisti de|no pude con|me dormi con|hated|hate|did ?n[o']t (?:really )?(?:like|enjoy|love|care for|get into)|do ?n[o']t (?:really )?like|disliked|could ?n[o']t (?:stand|finish|get through)|was bored by|bored (?:me )?by|disappointed (?:by|with|in)|odiei|odeio|odiamos|detestei|detesto|(?:nao|n|naum) (?:gostei|gostou|curti|curtiu|gosto|curto|suportei|me pegou|aguentei)|achei (?:chat[oa]|ruim|pessim[oa])|odie|odio|no (?:me|nos) (?:gust\w+|encanto|convencio|llego)|deteste|me aburri(?:o)?(?: con)?|nothing like|nada (?:parecido|como|tipo|a ver)(?: com| con| a)?|not like|unlike|not (?:another|more))\b"
_SEEN = r"\b(?:(?:i|we)(?:'ve| have)? (?:already |just |recently |all )?(?:seen|saw|watched|know)|(?:already|just|recently|last|re) ?(?:seen|saw|watched|finished)|seen|saw|watched|rewatched|finished|ja (?:vi|viu|viram|vimos|assisti|assistiu|assistimos|conheco|foram|cansei de ver)|revimos|hemos puesto|vist[oa]s?:|vi|vimos|assisti|assistimos|revi|vistos?|acabei de (?:ver|assistir)|acabo de ver|ya (?:vi|vimos|conozco|me vi)|(?:he|hemos|habia) visto|ya he visto)\b"
_NOT_SEEN = r"\b(?:(?:have|had|has)(?: not|n'?t) (?:seen|watched)|never (?:seen|saw|watched)|(?:i )?(?:still )?need to see|nunca (?:vi|assisti)|(?:ainda )?nao (?:vi|assisti)|(?:todavia |aun )?no (?:he visto|la he visto|vi)|nunca (?:he visto|vi)|everyone (?:talks about|recommends))\b"
_SIMILAR = r"\b(?:like|alike|similar(?:es|s)?(?: to| a| ao| com| con)?|in the (?:style|vein|spirit|mold) of|along the lines of|vibes? (?:of|like|de|do|da)|same (?:vibe|mood|feel|style|spirit|kind) (?:as|of)|(?:as )?(?:good|fun|funny|scary|epic|clever|dark) as|reminds? (?:me )?of|more|another|como|tipo|feito|parecid[oa]s?(?: com| a| con| ao)?|(?:n[oa] |d[oa] )?(?:mesm[oa] )?(?:estilo|linha|pegada|clima|vibe|nivel|espirito)(?: d[eoa])?|igual(?:zinho)?(?: a| ao)?|que (?:lembr|me lembr)\w+|tao bo[ma] quanto|al estilo(?: de)?|en la (?:linea|onda)(?: de)?|onda|rollo|tan buen[oa] como|que (?:recuerde|se parezca)(?: a)?|semejante a|del tipo(?: de)?|comparable to|a la altura de|if you liked|based on|inspired by|parecido)\b"
_TITLE_CUES = re.compile(
    rf"(?P<none>{_NOT_SEEN})|(?P<disliked>{_DISLIKED})|(?P<liked>{_LIKED})|(?P<seen>{_SEEN})|(?P<similar>{_SIMILAR})"
)
_AFTER_LIKED = re.compile(
    r"\beu (?:amo|adoro|curto)\b|e (?:o )?(?:meu )?(?:melhor )?filme d[ae] (?:historia|vida|minha vida)|\be (?:top|show|bom demais|massa)\b|me pegou|achei (?:tod[oa]s? |os dois |ambos )?(?:muito )?(?:sensaciona\w+|otim\w+|incrive\w+|lind[oa]s?|maravilhos\w+|demais|bo[mn]s?)|que film(?:aco|ao)|(?:muito )?(?:lind[oa]|bom|boa) demais|(?:sai|saimos) babando|chorei|amo cada|e (?:amo|adoro)\b|muito bo[am]\b|"
    r"\b(?:es |son |esta |fue |me parecio |me parece )?(?:una (?:joya|maravilla|obra maestra|pasada)|un exito|(?:la )?mejor pelicula|brutal(?:es)?|esta chid[oa]|buenisim[oa]s?|precios[oa]s?|mi peli (?:top|favorita)|genial(?:es)?)\b|qued[eo] loc[oa]|me dejo (?:tocad[oa]|sin palabras|flipando)|me (?:ha )?(?:impresion\w+|encantado|fascina\w*|flip\w+|vuelve loc[oa])|que locura|"
    r"= ?(?:best|great|love|amor|top)|(?:\b)(?:(?:is|are) (?:totally |so )?my (?:jam|thing|favou?rite|taste|comfort)|(?:floored|moved|thrilled) me|blew (?:me away|my mind)|cried (?:at|through|my)|and wow|(?:was|were) hilarious|best (?:film|movie) ever|"
    r"me (?:marcou|emocionou|conquistou|volo la cabeza|marco|emociono|fascino)|vi mil vezes|obra[- ]prima|(?:was|were|is|are|it'?s) (?:so |really |absolutely |very |just |such )*(?:a )?(?:great|good|amazing|awesome|perfect|brilliant|fantastic|fun|wonderful|incredible|my favou?rite|one of my fav\w*|masterpiece|lovely|excellent|beautiful)|"
    r"(?:i |we |and )*(?:really )?(?:loved|liked|enjoyed) (?:it|them|that|both|those)|(?:i )?love (?:it|them|that)|"
    r"(?:e |foi |foram |sao |achei )+(?:muito |demais |bem |super |tao )*(?:meus? favorit\w+|otim\w+|incrive\w+|maravilhos\w+|perfeit\w+|legal|bo[mn]s?|boa|sensaciona\w+|fod[ao]|demais|lind[oa])|(?:e |que eu |que )?(?:gostei|adorei|amei|curti)(?: muito| demais| bastante)?|"
    r"(?:es|fue|son|estuvo) (?:muy |mi |mis |tan |una |un )*(?:favorit\w+|genial\w*|increible\w*|buenisim\w+|buen[oa]s?|maravill\w+|perfect\w+|obra maestra|joya|pasada)|(?:y )?(?:me|nos) (?:encant\w+|gust(?:o|aron)(?! nada)|fascin\w+|flip\w+))"
)
_AFTER_DISLIKED = re.compile(
    r"\beu (?:detesto|odeio)\b|achei (?:tod[oa]s? )?(?:um (?:porre|saco|lixo)|frac[oa]s?|chat[oa]s?|insuportave\w+|rui\w+)|nao desceu|parei na metade|nem tanto, me cansou|me cansou|me deu sono|nao gostei|"
    r"se me hizo (?:etern[oa]|larg[oa]|pesad[oa])|no pude con|no l[ao]s? (?:soport\w+|aguant\w+)|l[ao]s? (?:detest|odi)\w+|me parec\w+ (?:malisim[oa]s?|una tonteria|muy mal[oa]|un rollo|aburrid\w+)|decepcionante|\bmeh\b|me aburri\b|(?:did ?n[o']t|do ?n[o']t) (?:really )?(?:care for|like) (?:either|any)|"
    r"= ?(?:trash|garbage|bad|lixo|basura)|\b(?:(?:is |are )?not (?:really )?(?:my thing|for me|my cup)|(?:put|sent) me to sleep|hated every|did ?n[o']t (?:work|land|click) for me|nao (?:e|foi) (?:pra|para) mim|me deu sono|dormi no|larguei|no (?:es|fue|era) (?:para mi|lo mio)|me dormi|(?:it )?was (?:so )?awful|(?:is|are) (?:so )?overrated|(?:was|were|is) (?:so |really |too |very |such )*(?:a )?(?:boring|awful|terrible|bad|dull|disappoint\w+|overrated|slow|not for me|waste|meh)|"
    r"(?:i |we |and |but )*(?:really )?(?:hated|did ?n[o']t (?:really )?(?:like|enjoy|love)|disliked) (?:it|them|that|both|those)|bored me|sucked|put me to sleep|"
    r"(?:e |foi |achei )+(?:muito |bem |super )*(?:chat\w+|ruim|pessim\w+|horrivel|fraco|entediante|superestimad\w+)|(?:e |mas )?(?:nao (?:gostei|curti|me pegou)|odiei|detestei)|me deu sono|"
    r"(?:es|fue|me parecio|estuvo) (?:muy |un |una |tan )*(?:aburrid\w+|mal[oa]|horrible|fatal|pesad\w+|lent[oa]|rollo|tost[oo]n|bodrio|sobrevalorad\w+)|(?:y |pero )?no (?:me|nos) (?:gust\w+|encanto|convencio)|me aburrio|la odie|lo odie)"
)
_AFTER_SEEN = re.compile(
    r"^(?:[^.!?;\n]{0,25})?\b(?:(?:eu |a gente |ele |ela |o pessoal |nos |todo mundo )?ja (?:vi|viu|vimos|viram|passou|assisti\w*)|(?:esse |essa )?(?:eu )?vi\b|(?:eu )?sei de cor|(?:ya )?l[aoe]s? (?:vi|vimos|vieron|vio|hemos visto|tengo vist\w+|puse|ha visto|han visto|he visto)|me l[ao]s? se|ya cay\w+|vist[oa]s?\b|(?:ive|i have|we) (?:watched|seen)|saw (?:those|these|both|them)|(?:i |because i )?know (?:it|that|them|by heart)|by heart|sei de cor|de memoria|watched (?:it|both|them)|i(?:'ve)? (?:seen|watched)|(?:i|we)(?:'ve| have)? (?:already |just )?(?:seen|saw|watched)|already (?:seen|saw|watched)|seen (?:it|them|that|both|those)|"
    r"(?:eu )?ja (?:vi|vimos|assisti|assistimos|conheco)|ya (?:l[aoe]s? )?(?:vi|vimos|he visto|hemos visto|vist[oa]s?|conozco)|(?:l[aoe]s? )?he visto|ja foi vist|vist[oa]s? ja)\b"
)
_ABOUT_IT = re.compile(
    r"\b(?:it|that one|loved|hated|adorei|amei|gostei|odiei|detestei|encanto|gusto|odie|aburrio|best film|otimo|incrivel|wow)\b"
)
_DIRECTED = re.compile(
    r"(?:direct(?:e)?d by|direction by|helmed by|director(?: is)?|dir(?:ecao|eccion)? (?:de|do|da|by)|dirigid[oa]s? (?:por|pel[oa])|(?:diret|direct)ora?(?: (?:seja|sea|is|e|es|be))?|realizador|cineasta|filmmaker|tenha dirigido|haya dirigido|dirigi(?:u|o) )\s*:?\s*(?:o |a |el |la )?$"
)
_DIRECTS_AFTER = re.compile(
    r"^\s*(?:directed|directs|directing|dirigindo|dirigiendo|dirigiu|dirige|dirigio|as director|(?:como|as) (?:diretor|director))\b"
)

_RESET = re.compile(
    r"\b(?:start(?:ing)? (?:over|again|fresh)|forget (?:all|everything|it|that|about (?:all|that|it)|what i said)|from scratch|new search|never mind(?: all)?(?: that)?|scratch (?:all|everything)|reset|clean slate|"
    r"esquec[ea](?: tudo| isso| o que)?|comec(?:ar|amos|a|emos) (?:de novo|do zero|outra vez)|do zero|recomec\w+|zera(?:r)? tudo|deixa (?:tudo )?isso pra la|"
    r"olvid[ae]\w*(?: (?:todo|eso|lo))?|empe(?:cemos|zar|zamos|ce|za) (?:de nuevo|de cero|otra vez)|de(?:sde)? cero|borron)\b"
)
_REPLACE = re.compile(
    r"\b(?:actually|instead(?! of)|on second thoughts?|changed my mind|scratch that|make (?:it|that)|switch to|let'?s (?:go with|do|try)|what about|how about|now (?:i|we|give|show|something|a)|rather|better|no wait|i meant|"
    r"na verdade|melhor|mudei de ideia|pensando bem|prefiro|troca(?:r)? (?:por|pra|para)|muda(?:r)? (?:pra|para)|agora|quer dizer|alias|quis dizer|digo|"
    r"en realidad|mejor|cambie de (?:idea|opinion)|pensandolo (?:bien|mejor)|prefiero|mas bien|ahora|cambia(?:r|mos)? (?:a|por)|quise decir|quiero decir|que tal)\b|em vez d(?:ele|ela|isso|esses?|essas?)|en vez de (?:el|ella|eso|esas?)|troca|cambia|^\W*(?:so|somente|apenas|solo|solamente|just|only)\b|^\s*(?:no|nao|nah|nope),"
)
_ADD = re.compile(
    r"\b(?:also|too|as well|and (?:with|from|in|not|no|under)|plus|additionally|on top|that (?:is|are) also|of those|among (?:those|these)|tambem|alem disso|e (?:com|que|sem|de|do|dos|da|nao|ate|em)|dess[ea]s|entre (?:ess|est)[ea]s|ademas|tambien|y (?:con|que|sin|de|no|en)|de es[oa]s|entre es[oa]s|but (?:with|not|no|from|in|only|make it)|mas (?:com|que|sem|nao|do|de|dos)|pero (?:con|que|sin|no|de))\b"
)
_CLEAR = {
    "price": re.compile(
        r"\b(?:any price|(?:price|money|cost) (?:does ?n[o']?t matter|is no object)|qualquer preco|(?:o )?preco (?:tanto faz|nao importa)|nao importa o preco|cualquier precio|(?:no importa|da igual) el precio|el precio (?:no importa|da igual))\b"
    ),
    "country": re.compile(
        r"\b(?:any country|country does ?n[o']?t matter|from anywhere|qualquer (?:pais|lugar)|(?:pais|origem) (?:tanto faz|nao importa)|nao importa (?:o pais|de onde)|cualquier pais|(?:no importa|da igual) (?:el pais|de donde))\b"
    ),
    "genre": re.compile(
        r"\b(?:any|whatever|all) (?:genres?|kind|type)|genre does ?n[o']?t matter|(?:qualquer|tod[oa]s? os?) (?:genero|tipo)s?|genero (?:tanto faz|nao importa)|nao importa o genero|cualquier (?:genero|tipo)|(?:no importa|da igual|me da igual) el genero\b"
    ),
    "year": re.compile(
        r"\b(?:any (?:year|decade|era|time|age)|(?:year|decade|era) does ?n[o']?t matter|old or new|qualquer (?:ano|epoca|decada)|(?:ano|epoca|decada) (?:tanto faz|nao importa)|nao importa (?:o ano|a epoca|a decada)|cualquier (?:ano|epoca|decada)|(?:no importa|da igual|me da igual) (?:el ano|la epoca|la decada))\b"
    ),
    "runtime": re.compile(
        r"\b(?:any (?:length|runtime|duration)|(?:length|runtime|duration) does ?n[o']?t matter|qualquer duracao|duracao (?:tanto faz|nao importa)|nao importa a duracao|pode ser (?:mais )?longo|cualquier duracion|(?:no importa|da igual|me da igual) (?:la duracion|(?:lo )?(?:cuanto|que) dure)|can be (?:long|longer|any length))\b"
    ),
    "person": re.compile(
        r"\b(?:any (?:actor|actress|director|cast)|(?:does ?n[o']?t|need not) have to be (?:with )?(?:him|her|them)|with anyone|qualquer (?:ator|atriz|diretor)|sem ser com el[ea]|cualquier (?:actor|actriz|director)|(?:actor|cast|elenco) (?:does ?n[o']?t matter|tanto faz|nao importa))\b"
    ),
}


def _blank(text: str, pattern: re.Pattern[str]) -> str:
    return pattern.sub(lambda m: " " * len(m.group()), text)


def read_cues(marked: Marked, language: str, *, first: bool) -> Reading:
    """Read the roles of a message's spans from the words around them.

    Parameters
    ----------
    language: of the message.
    first: whether it is the first message of the user.
    """
    plain = flat(marked.message)
    spans = marked.spans
    blanked = list(plain)
    for s in spans:  # words inside a span are no cues
        blanked[s.start : s.end] = "\x00" * (s.end - s.start)
    opinions = _blank("".join(blanked), _NOT_THAT_NOT)
    text = _blank(opinions, _NOT_NEGATION)
    negative = re.compile(_NEGATIVE + (_SLANG_PT if language == "pt" else _NO))
    turned = [m.end() for m in _CORRECTION.finditer(text)]
    roles: dict[str, str | None] = {}
    guesses: dict[str, str] = {}
    either: set[str] = set()
    previous: Span | None = None
    for i, s in enumerate(spans):
        following = text[s.end : spans[i + 1].start if i + 1 < len(spans) else len(text)]
        later = [o.start for o in spans[i + 1 :] if o.kind == "title"]
        tail = opinions[s.end : later[0] if later else len(text)]
        between = text[previous.end : s.start] if previous else text[: s.start]
        joined = bool(previous and _CONNECT.match(between))
        if s.kind == "title":
            role, sure = _title_role(opinions, s, tail, negative)
            if role is None and joined and previous and previous.kind in ("title", "unknown"):
                role = guesses.get(previous.mark)
                sure = roles.get(previous.mark) is not None
                if role not in ROLES["title"]:
                    role, sure = None, False
            titles = [o for o in spans[:i] if o.kind == "title"]
            if role is None and titles and not _HARD_END.search(text, titles[-1].end, s.start):
                role = guesses[titles[-1].mark]
        else:
            role, sure = _wish_role(
                text, spans, i, following, negative, roles, guesses, joined, first=first
            )
        if role is None and s.kind == "title":
            told = len(_HARD_END.findall(plain.rstrip(".!?"))) > 1
            role = "none" if s.pointed else "liked" if told else "similar"
        role = role or DEFAULT_ROLE[s.kind]
        if role not in ROLES[s.kind]:
            role = (
                "none"
                if s.kind in ("year", "runtime", "price", "unknown") and role == "no"
                else "yes"
            )
            sure = s.kind != "unknown"
        if any(
            s.end <= at and any(o.kind == s.kind and o.start >= at for o in spans) for at in turned
        ):
            role, sure = "none", True  # taken back in the same breath
        if s.mark not in guesses or sure:
            guesses[s.mark] = role
            roles[s.mark] = role if sure else None
        if role == "no" and _AFTER_NO.match(text, s.end):
            for o, after in zip(spans[i - 1 :: -1] if i else (), spans[i::-1], strict=False):
                if o.kind != s.kind or not _OR_LIST.match(text, o.end, after.start):
                    break  # "Iranian or Turkish, no"
                roles[o.mark] = guesses[o.mark] = "no"
        if (
            previous
            and joined
            and previous.kind == s.kind
            and role == guesses[previous.mark] == "yes"
            and (_OR_ES if language == "es" else _OR).search(between)
        ):
            either |= {previous.mark, s.mark}
            j = i - 1  # "action, adventure or comedy": the commas before mean "or" too
            while (
                j > 0
                and spans[j - 1].kind == s.kind
                and re.fullmatch(r"\s*,\s*(?:\w{1,4}\s+)?", text[spans[j - 1].end : spans[j].start])
            ):
                either.add(spans[j - 1].mark)
                j -= 1
        previous = s
    _spread_over_lists(text, spans, roles, guesses)
    doubtful = _leave_background(plain, spans, roles, guesses)
    if _NOT_HIS.search(plain):
        people = [s.mark for s in spans if s.kind == "person"]
        if people:
            guesses[people[-1]] = roles[people[-1]] = "no"
    if _TOGETHER.search(plain):
        either -= {s.mark for s in spans if s.kind == "person"}
    elif _EITHER.search(plain):
        for kind in ("genre", "person"):
            wanted = {s.mark for s in spans if s.kind == kind and guesses[s.mark] == "yes"}
            if len(wanted) > 1:
                either |= wanted
    return Reading(
        roles,
        guesses,
        frozenset(either),
        _turn(plain, first),
        doubtful,
        bool(_MORE_LIKE_IT.search(text)),
        frozenset(kind for kind, pattern in _CLEAR.items() if pattern.search(plain)),
    )


def _leave_background(
    plain: str, spans: tuple[Span, ...], roles: dict[str, str | None], guesses: dict[str, str]
) -> frozenset[str]:
    """What is only told ("my brother loves westerns") is no wish where another sentence asks.

    A wish is set aside only for one of its kind: after "my wife adores Audrey Hepburn. Something
    short, please" the actress stays wanted. Returns the marks that stay so.
    """
    sentences: list[tuple[int, int]] = []
    at = 0
    for m in _HARD_END.finditer(plain):
        sentences.append((at, m.end()))
        at = m.end()
    sentences.append((at, len(plain)))
    inside = [[s for s in spans if a <= s.start < b] for a, b in sentences]
    asks = [
        bool(_REQUEST.search(plain, a, b)) and any(s.kind in _CONTENT for s in own)
        for (a, b), own in zip(sentences, inside, strict=True)
    ]
    doubtful: set[str] = set()
    if not any(asks):
        return frozenset()
    requested = [s for own, ask in zip(inside, asks, strict=True) if ask for s in own]
    asked = {s.mark for s in requested}
    kinds = {s.kind for s in requested if guesses[s.mark] in ("yes", "director")}
    for (a, b), own in zip(sentences, inside, strict=True):
        if not own or _REQUEST.search(plain, a, b) or not _BACKGROUND.search(plain, a, b):
            continue
        for s in own:
            vague = s.kind == "title" and roles[s.mark] is None
            wish = s.kind in kinds and guesses[s.mark] in ("yes", "director")
            if (vague or wish) and s.mark not in asked:
                roles[s.mark] = guesses[s.mark] = "none"
            elif s.mark not in asked:
                doubtful.add(s.mark)
    return frozenset(doubtful)


def _spread_over_lists(
    text: str, spans: tuple[Span, ...], roles: dict[str, str | None], guesses: dict[str, str]
) -> None:
    """In "A and B, loved both" what is said after the last title is said of all of them."""
    titles = [s for s in spans if s.kind == "title"]
    for before, s in reversed(list(pairwise(titles))):
        if not _CONNECT.match(text[before.end : s.start]) or "\x00" in text[before.end : s.start]:
            continue
        tail = _HARD_END.split(text[s.end :])[0]
        opinion = (
            _AFTER_LIKED.search(tail) or _AFTER_DISLIKED.search(tail) or _AFTER_SEEN.search(tail)
        )
        if opinion and roles[s.mark] and roles[before.mark] in (None, "seen", "similar"):
            if roles[before.mark] == "similar" and guesses[s.mark] != "seen":
                continue
            roles[before.mark] = guesses[before.mark] = guesses[s.mark]


def _turn(plain: str, first: bool) -> Turn | None:
    if first:
        return "add"
    if _RESET.search(plain):
        return "reset"
    if _ADD.search(plain):
        return "add"
    if _REPLACE.search(plain):
        return "replace"
    return None


def _clause_start(text: str, at: int) -> int:
    ends = [m.end() for m in _HARD_END.finditer(text, 0, at)]
    ends += [m.end() for m in _CORRECTION.finditer(text, 0, at)]
    return max(0, at - FAR, *ends)


def _title_role(
    text: str, s: Span, following: str, negative: re.Pattern[str]
) -> tuple[str | None, bool]:
    start = _clause_start(text, s.start)
    best: re.Match[str] | None = None
    for m in _TITLE_CUES.finditer(text, start, s.start):
        gap = text[m.end() : s.start]
        if "\x00" in gap and not _only_list(gap):
            continue
        if len(gap.split()) > 7 or re.search(r"\b(?:but|mas|pero|want|quero|quiero)\b", gap):
            continue
        if best is None or m.end() >= best.end():
            best = m
    role = best.lastgroup if best else None
    sentences = _HARD_END.split(following)
    tail = sentences[0]
    then = sentences[1] if len(sentences) > 1 and _ABOUT_IT.search(sentences[1]) else ""
    if _AFTER_DISLIKED.search(tail) or (then and _AFTER_DISLIKED.search(then)):
        return "disliked", True
    if role not in ("similar", "disliked") and (
        _AFTER_LIKED.search(tail) or (then and _AFTER_LIKED.search(then))
    ):
        return "liked", True
    if role is None and _AFTER_SEEN.search(tail):
        return "seen", True
    if role == "similar" and best is not None:
        lead = text[max(start, best.start() - 25) : best.start()]
        if re.search(negative.pattern + r"(?:\s+\w+){0,2}\s*$", lead):
            return "disliked", False
    if role is None and re.search(
        r"(?:" + negative.pattern + r")\s*(?:\w+\s+){0,2}$", text[start : s.start]
    ):
        return "disliked", False
    return role, role is not None


def _only_list(gap: str) -> bool:
    return bool(
        re.fullmatch(
            r"(?:[\s,/&\x00]|\b(?:and|or|e|ou|y|o|u|the|de|do|da|also|tambem|tambien)\b)*", gap
        )
    )


def _wish_role(
    text: str,
    spans: tuple[Span, ...],
    i: int,
    following: str,
    negative: re.Pattern[str],
    roles: dict[str, str | None],
    guesses: dict[str, str],
    joined: bool,
    *,
    first: bool,
) -> tuple[str | None, bool]:
    s = spans[i]
    if s.kind in ("year", "runtime", "price"):
        return "yes", True  # their grammar knows negation
    start = _clause_start(text, s.start)
    if _OR_NOT.match(following):
        return "none", True
    if _NEED_NOT.search(text, start, s.start):
        return "none", True
    if _FINE.match(following) or _AFTER_YES.match(following):
        return ("yes" if first else "none"), True
    before_it = next((o for o in reversed(spans[:i]) if o.kind == s.kind), None)
    if before_it and guesses.get(before_it.mark) == "no" and _TOO.match(following):
        return "no", True
    if s.kind in ("country", "language", "keyword") and _NO_WISH_BEFORE.search(
        text, start, s.start
    ):
        return "none", True
    if _AFTER_NO.match(text, s.end):
        return "no", True
    before = text[start : s.start]
    if s.kind == "person" and (_DIRECTED.search(before) or _DIRECTS_AFTER.match(following)):
        lead = negative.search(before)
        return (
            ("no", True) if lead and len(before[lead.end() :].split()) <= 5 else ("director", True)
        )
    last = None
    for m in negative.finditer(before):
        last = m
    if last is None:
        if joined and i and guesses.get(spans[i - 1].mark) == "director" and s.kind == "person":
            return "director", True
        return "yes", True
    if _DOUBLE.search(before):
        return "yes", True
    gap = before[last.end() :]
    if verb := _REFUSED.match(gap):
        gap = gap[verb.end() :]
    if "\x00" in gap and not joined:
        return "yes", True
    reset = _POSITIVE.search(gap)
    if reset:
        return "yes", True
    clauses = _CLAUSE_END.split(gap)
    if len(clauses) == 1:
        near = len(re.sub(r"\x00+", " ", gap).split())
        return ("no", True) if near <= 4 else ("yes", False)
    # A comma since the negation: a list that goes on, or a new wish?
    previous = spans[i - 1] if i and spans[i - 1].start >= start else None
    if s.kind == "person" and re.search(r"\b(?:with|by|starring|com|con)\s+(?:o |a )?$", before):
        return "yes", True  # "without him, with her"
    alike = previous and (previous.kind == s.kind or {previous.kind, s.kind} <= _TOPICS)
    if previous and not alike:
        return "yes", True  # "nothing with him, a comedy"
    if previous and joined and guesses.get(previous.mark) == "no":
        rest = text[s.end : s.end + 40]
        more = i + 1 < len(spans) and _CONNECT.match(text[s.end : spans[i + 1].start])
        between = text[previous.end : s.start]
        if _LIST_WORD.search(between):
            return "no", True
        if more and _LIST_WORD.search(rest):
            return "no", True
        return "no", False
    return "yes", len(clauses) > 2
