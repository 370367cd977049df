"""Three institutions that do not exist, in towns that do not exist: names, styles and machines, as data."""

from __future__ import annotations

from dataclasses import dataclass

from carina.errors import NotFound
from carina.sample import scanners as machines
from carina.sample.scanners import Scanner


@dataclass(frozen=True)
class Site:
    """One institution as its headers and its catalogue entry show it.

    key             short name, in small letters; also the name of the folder
    country_code    ISO 3166-1 alpha-2
    character_set   Specific Character Set (0008,0005) that its machines write
    issuer          Issuer of Patient ID (0010,0021)
    project         id and title of the project its sources belong to
    surnames        how many family names a person has
    id_form, national_form, phone_form, address_form   `#` stands for a digit, words in braces for what they say
    titles          before a woman's and a man's name
    comment, history   a sentence about the patient in the local language
    extra           the cases it has besides what every site has (`cases.CASES`)
    """

    key: str
    name: str
    city: str
    country: str
    country_code: str
    character_set: str
    issuer: str
    ae_title: str
    project: str
    project_title: str
    department: str
    address: str
    surnames: int
    families: tuple[str, ...]
    women: tuple[str, ...]
    men: tuple[str, ...]
    streets: tuple[str, ...]
    towns: tuple[str, ...]
    occupations: tuple[str, ...]
    physicians: tuple[str, ...]
    operators: tuple[str, ...]
    id_form: str
    national_form: str
    national_issuer: str
    phone_form: str
    address_form: str
    titles: tuple[str, str]
    comment: str
    history: str
    extra: tuple[str, ...]
    scanners: tuple[Scanner, ...]


SPAIN = Site(
    key="valdeluna",
    name="Hospital Universitario Sierra Clara",
    city="Valdeluna",
    country="Spain",
    country_code="ES",
    character_set="ISO_IR 100",
    issuer="HUSC",
    ae_title="SIERRACLARA",
    project="oncologia",
    project_title="Oncología torácica y general",
    department="Servicio de Radiodiagnóstico, planta 2",
    address="Avenida de los Almendros 114, 28999 Valdeluna",
    surnames=2,
    families=(
        "García", "Núñez", "Ibáñez", "Fernández", "López", "Martínez", "Sánchez", "Peña", "Gutiérrez", "Castaño",
        "Muñoz", "Domínguez", "Vázquez", "Ramírez", "Ordóñez", "Cañizares", "Echeverría", "Montañés", "Quiñones",
        "Salgado", "Zubizarreta", "Villanueva", "Arizmendi", "Rebollo",
    ),
    women=(
        "María José", "Concepción", "Begoña", "Inés", "Rocío", "Lucía", "Pilar", "Ángela", "Mónica", "Encarnación",
        "Remedios", "Sofía", "Montserrat", "Ana Belén", "Itziar", "Asunción",
    ),
    men=(
        "José Luis", "Andrés", "Ramón", "Íñigo", "Joaquín", "Jesús", "Óscar", "Martín", "Álvaro", "Francisco Javier",
        "Ignacio", "Sebastián", "Agustín", "Nicolás", "Fermín", "Germán",
    ),
    streets=("Calle del Espliego", "Calle Poeta Marcial", "Paseo de la Ermita", "Plaza del Trigo", "Camino Viejo"),
    towns=("28991 Valdeluna", "28992 Torrecilla del Olmo", "28994 Fuentenueva", "28997 Arroyohondo"),
    occupations=("maestra", "soldador", "administrativo", "agricultor", "enfermera", "jubilado"),
    physicians=("Olmedo Rincón^Beatriz^^Dra.", "Carrascosa Vidal^Tomás^^Dr.", "Iturralde Peña^Nerea^^Dra."),
    operators=("Pastrana Gil^Raúl", "Belmonte Sáez^Verónica", "Cifuentes Mora^Adrián"),
    id_form="0#########",
    national_form="########-X",
    national_issuer="DNI",
    phone_form="+34 91# ### ###",
    address_form="{street} {number}, {floor}º B^{town}^España",
    titles=("Dña.", "D."),
    comment="{title} {name} acude con un familiar; NHC {id}. Avisar al {phone}.",
    history="Paciente {name}, en seguimiento por el comité de tumores.",
    extra=("lung-f-follow", "lung-m", "liver-m", "colon-m"),
    scanners=(
        machines.siemens_ct("CTSOMVAL1", "66417"),
        machines.ge_ct("CTREVVAL2", "CA0318VAL"),
        machines.toshiba_ct("AQONEVAL3", "2CB15Y2044"),
        machines.siemens_mr("MRAERAVAL", "141832"),
        machines.philips_mr("INGENIAVAL", "71244"),
        machines.siemens_pet("PETMCTVAL", "11207"),
        machines.hologic_mg("MAMOVAL01", "SDM09160418"),
        machines.ge_us("ECOVAL4", "203917US7"),
    ),
)  # fmt: skip

NETHERLANDS = Site(
    key="noorderdiep",
    name="Medisch Centrum Noorderdiep",
    city="Noorderdiep",
    country="Netherlands",
    country_code="NL",
    character_set="ISO_IR 100",
    issuer="MCND",
    ae_title="NOORDERDIEP",
    project="oncologie",
    project_title="Oncologische beeldvorming",
    department="Afdeling Radiologie en Nucleaire Geneeskunde",
    address="Wilgenkade 41, 9988 ZX Noorderdiep",
    surnames=1,
    families=(
        "van der Zwaluw", "de Grauwe", "Hoogeveen-Smit", "ter Braak", "van Oosterzée", "Kuipers", "Zijlstra-Brandsma",
        "van 't Hoofd", "Wiersma", "Ruijgrok", "Dijkgraaf", "Hoekstra", "van den Eijnden", "Coëlho", "Scholtemeijer",
        "Boerhaave", "Vreeswijk", "Nieuwenhuijzen", "Terpstra", "Steenbeek", "Overduin", "van Lieshout",
        "Kromhout", "Wagenvoort",
    ),
    women=(
        "Daniëlle", "Renée", "Zoë", "Marijke", "Anneloes", "Geertruida", "Willemijn", "Noëlle", "Hendrika", "Femke",
        "Josée", "Wilhelmina", "Sanne", "Loïse", "Tjitske", "Margriet",
    ),
    men=(
        "Daniël", "Matthijs", "Joël", "Gerrit", "Sjoerd", "André", "Willem-Jan", "Raphaël", "Hendrik", "Maarten",
        "Cornelis", "Thijs", "René", "Pieter", "Wouter", "Adriaan",
    ),
    streets=("Korenbloemlaan", "Oude Gracht", "Schipperspad", "Burgemeester Ruysstraat", "Molenweg"),
    towns=("9988 ZA Noorderdiep", "9986 XB Westerwolde-Oost", "9981 VK Uiterdijk", "9983 WD Kloosterhaven"),
    occupations=("leraar", "verpleegkundige", "tuinder", "schipper", "boekhouder", "gepensioneerd"),
    physicians=("Brouwershaven^Liesbeth^^dr.", "Haverkamp^Jeroen^^dr.", "Oudejans^Maryam^^dr."),
    operators=("Veldkamp^Inge", "Postuma^Bastiaan", "Schuringa^Esmée"),
    id_form="ND#######",
    national_form="####.##.###",
    national_issuer="BSN",
    phone_form="+31 6 ########",
    address_form="{street} {number}^{town}^Nederland",
    titles=("Mevr.", "Dhr."),
    comment="{title} {name} is slecht ter been, patiëntnummer {id}. Bereikbaar op {phone}.",
    history="Patiënt {name} besproken in het multidisciplinair overleg.",
    extra=("breast-f", "breast-f-old", "prostate-m-follow", "prostate-m"),
    scanners=(
        machines.philips_ct("ICT-NDIEP1", "360417"),
        machines.siemens_ct("SOM-NDIEP2", "73381"),
        machines.toshiba_ct("AQ1-NDIEP3", "2CA14X1187"),
        machines.philips_mr("ING-NDIEP", "45120"),
        machines.canon_mr("ORI-NDIEP", "W3A1922046"),
        machines.philips_pet("VER-NDIEP", "880214"),
        machines.siemens_pet("MCT-NDIEP", "11654"),
        machines.hologic_mg("MAM-NDIEP", "SDM11200733"),
        machines.philips_us("EPQ-NDIEP", "US717B0932"),
    ),
)  # fmt: skip

AUSTRALIA = Site(
    key="merriwa",
    name="Port Merriwa Cancer Centre",
    city="Port Merriwa",
    country="Australia",
    country_code="AU",
    character_set="ISO_IR 192",
    issuer="PMCC",
    ae_title="PORTMERRIWA",
    project="cancer-imaging",
    project_title="Cancer imaging",
    department="Medical Imaging, Level 3 East",
    address="77 Banksia Parade, Port Merriwa NSW 2999",
    surnames=1,
    families=(
        "Featherstone", "Nguyễn", "O'Shaughnessy", "Papadopoulos", "Wetherill", "Trần", "Macalister", "Kowalczyk",
        "Blackwood", "Đặng", "Thistlewood", "Karunaratne", "Okonkwo", "Warrigal", "Fitzwilliam", "Ravindran",
        "Hollingsworth", "Kassabian", "Müllersdorf", "Cartwright", "Yarrington", "Lê", "D'Alessandro", "Pemberton",
    ),
    women=(
        "Thị Hương", "Kirsten", "Meredith", "Alinta", "Siobhán", "Priyanka", "Charlotte", "Bích Ngọc", "Eleni",
        "Josephine", "Chloé", "Rosalind", "Agnieszka", "Matilda", "Beverley", "Gwendolyn",
    ),
    men=(
        "Văn Minh", "Lachlan", "Desmond", "Jarrah", "Cillian", "Rajesh", "Hamish", "Quốc Bảo", "Konstantinos",
        "Bartholomew", "Jürgen", "Reginald", "Stanisław", "Angus", "Terrence", "Malcolm",
    ),
    streets=("Wattlebird Crescent", "Lighthouse Road", "Old Ferry Street", "Coolabah Drive", "Stringybark Lane"),
    towns=("Port Merriwa NSW 2999", "Gumnut Flat NSW 2998", "East Tallow NSW 2996", "Burrabee NSW 2997"),
    occupations=("teacher", "electrician", "retired", "shearer", "nurse", "accountant"),
    physicians=("Abernethy^Fiona^^Dr", "Castellano^Marco^^A/Prof", "Wickramasinghe^Dilani^^Dr"),
    operators=("Tregenza^Bronwyn", "Sutherland^Callum", "Phạm^Anh"),
    id_form="PM######",
    national_form="#### ##### #",
    national_issuer="MEDICARE",
    phone_form="+61 2 5550 ####",
    address_form="{number} {street}^{town}^Australia",
    titles=("Mrs", "Mr"),
    comment="{title} {name} (UR {id}) needs an interpreter; call {phone} before changing the booking.",
    history="{name} discussed at MDT, see previous imaging.",
    extra=("prostate-m", "brain-f", "lung-f-pet", "kidney-m"),
    scanners=(
        machines.ge_ct("PMCT01GE", "PMR4471CT1"),
        machines.philips_ct("PMCT02PH", "310988"),
        machines.siemens_ct("PMCT03SI", "95114"),
        machines.ge_mr("PMMR01GE", "PMR4471MR2"),
        machines.siemens_mr("PMMR02SI", "167710"),
        machines.ge_pet("PMPET1GE", "PMR4471PT1"),
        machines.hologic_mg("PMMG01HO", "SDM08140296"),
        machines.toshiba_us("PMUS03TO", "W1E13Y2098"),
    ),
)  # fmt: skip

SITES: tuple[Site, ...] = (SPAIN, NETHERLANDS, AUSTRALIA)


def site(key: str) -> Site:
    """The site of this key, or `NotFound`."""
    for candidate in SITES:
        if candidate.key == key:
            return candidate
    raise NotFound("No sample site has this name.", f"The sites are {', '.join(each.key for each in SITES)}.")
