"""A small shop: forty-two products of three languages, so few that every right answer is known."""

from __future__ import annotations

from functools import cache
from typing import Any

from llmrec.catalog import Catalog
from llmrec.lexicon import Lexicon
from llmrec.models.profile import Profile
from llmrec.models.scripted import ScriptedModel
from llmrec.recommender import Recommender
from llmrec.types import Item

THIS_YEAR = 2026
RULES = Profile(lead="rules", detail="brief", writes=False)

_ROWS: tuple[tuple[str, float | None, str, str], ...] = (
    ("projector", 24.9, "Solar System Night Light Projector",
     "Projects planets and stars on the ceiling. A gift for children who love space, from age 6."),
    ("rocket-blocks", 34.5, "Moon Rocket Building Blocks, 486 Pieces",
     "A space rocket to build, with two astronauts. For children of eight years and more."),
    ("torch", 18.75, "Trailhead 900 Waterproof LED Torch",
     "A torch that works under water down to two metres. Runs forty hours on one battery."),
    ("lantern", 29.0, "Fold-Flat Camping Lantern",
     "Hangs in the tent and charges a phone. Splash proof, not for use under water."),
    ("headlamp", 15.2, "Pocket Headlamp with Red Light",
     "A light for the forehead, for night walks. Weighs fifty grams."),
    ("bottle", 21.0, "Steel Water Bottle, 750 ml",
     "Keeps drinks cold for a day. Leak proof lid, fits a bicycle cage."),
    ("usb-hub", 19.99, "Seven-Port USB Hub",
     "Seven USB sockets with a switch each, and a power supply of its own."),
    ("keyboard", 79.0, "Quiet Mechanical Keyboard",
     "Full size keys that hardly make a sound. For long days at the desk."),
    ("mouse", 14.9, "Vertical Wireless Mouse",
     "Held like a handshake, easy on the wrist. Works on glass."),
    ("kettle", 42.0, "Gooseneck Kettle",
     "Pours a thin, steady stream for filter coffee. Stops at the temperature you set."),
    ("grinder", 65.0, "Hand Coffee Grinder",
     "Steel burrs with thirty steps, from espresso to French press."),
    ("knife", 38.0, "Chef's Knife, 20 cm", "Forged from one piece of steel. Comes with a guard."),
    ("mat", 27.5, "Cork Yoga Mat", "Grips when wet, smells of nothing. Rolls up with a strap."),
    ("rope", 9.9, "Speed Jump Rope", "Ball bearings and a cable that is cut to length."),
    ("puzzle", 17.0, "World Map Jigsaw Puzzle, 1000 Pieces",
     "A map with animals and ships for rainy weekends."),
    ("horror-dice", 22.0, "Haunted House Dice Game",
     "A horror game for two to five players, full of ghosts. Half an hour a round."),
    ("book-light", 11.5, "Clip-On Reading Light",
     "Warm light for reading in bed. Charges over USB."),
    ("planner", None, "Undated Weekly Planner", "Fifty-two weeks on thick paper, without dates."),
    ("panela", 129.9, "Panela de Pressão 4,5 Litros",
     "Panela de alumínio para cozinhar feijão em vinte minutos. Fecha por fora, com trava."),
    ("faca-pao", 39.9, "Faca de Pão com Serra",
     "Corta pão fresco sem esmagar. Para quem gosta de cozinhar em casa."),
    ("avental", 59.9, "Avental de Cozinha Ajustável",
     "Um presente para quem gosta de cozinhar: algodão grosso, dois bolsos."),
    ("livro-receitas", 74.0, "Livro de Receitas da Vovó",
     "Cem receitas brasileiras para cozinhar no dia a dia, com fotos. Ótimo presente."),
    ("liquidificador", 189.0, "Liquidificador 900 W",
     "Copo de vidro e doze velocidades, para sucos e massas."),
    ("chaleira", 99.0, "Chaleira Elétrica de Inox", "Ferve um litro em três minutos e desliga só."),
    ("fone", 149.0, "Fone de Ouvido sem Fio Bluetooth",
     "Fone com estojo que recarrega, resistente ao suor."),
    ("caixa-som", 219.0, "Caixa de Som Portátil à Prova d'Água",
     "Toca doze horas e aguenta chuva e piscina."),
    ("mochila", 139.9, "Mochila para Notebook 15,6",
     "Mochila com bolso acolchoado para o computador e capa de chuva."),
    ("lancheira", 45.0, "Lancheira Térmica Infantil de Dinossauro",
     "Mantém a comida fria. Para crianças que gostam de dinossauros."),
    ("rede", 110.0, "Rede de Descanso Casal", "Rede de algodão trançado, aguenta duas pessoas."),
    ("cuia", 54.0, "Cuia de Chimarrão com Bomba", "Porongo forrado, com bomba de inox."),
    ("guarda-chuva", None, "Guarda-Chuva Automático", "Abre e fecha com um botão, aguenta vento."),
    ("auriculares", 44.9, "Auriculares Deportivos con Gancho",
     "Auriculares para correr que no se caen. Resisten el sudor, ocho horas de batería."),
    ("auriculares-estudio", 89.0, "Auriculares de Estudio Cerrados",
     "Sonido fiel para mezclar en casa. Cable de tres metros."),
    ("zapatillas", 72.5, "Zapatillas de Correr para Asfalto",
     "Zapatillas ligeras para correr cada día. Suela de goma."),
    ("cafetera", 31.9, "Cafetera Italiana de Aluminio",
     "Seis tazas de café en cinco minutos. No sirve para inducción."),
    ("manta", 26.0, "Manta de Lana Merina", "Manta suave para el sofá, lavable a mano."),
    ("termo", 23.5, "Termo de Acero para Mate", "Mantiene el agua caliente durante diez horas."),
    ("paraguas", 16.0, "Paraguas Plegable", "Cabe en el bolso y resiste el viento."),
    ("telescopio", 119.0, "Telescopio para Principiantes",
     "Para mirar la luna y los planetas. Incluye trípode; un regalo para niños curiosos."),
    ("linterna", 13.9, "Linterna Recargable con Imán",
     "Linterna con luz blanca y roja. Se carga por USB."),
    ("mochila-montana", 64.0, "Mochila de Montaña 30 Litros",
     "Espalda ventilada y funda impermeable para la lluvia."),
    ("juego-memoria", 12.0, "Juego de Memoria del Espacio",
     "Cartas con planetas y cohetes para niños desde cuatro años."),
)  # fmt: skip
PRODUCTS = tuple(
    Item(id=id, title=title, description=description, price=price)
    for id, price, title, description in _ROWS
)
BY_ID = {p.id: p for p in PRODUCTS}


@cache
def catalog() -> Catalog:
    """The shop as a catalogue."""
    return Catalog.from_items(PRODUCTS)


@cache
def without_prices() -> Catalog:
    """The same goods with no price on any."""
    return Catalog.from_items(Item(p.id, p.title, description=p.description) for p in PRODUCTS)


@cache
def lexicon() -> Lexicon:
    """What the goods are called."""
    return Lexicon(PRODUCTS, this_year=THIS_YEAR)


def recommender(goods: Catalog | None = None, **options: Any) -> Recommender:
    """The shop with a scripted model, whose gaps in understanding the rules fill."""
    options.setdefault("profile", RULES)
    return Recommender(ScriptedModel(), goods or catalog(), **options)
