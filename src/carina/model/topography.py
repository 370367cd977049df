"""The topography of ICD-O-3 by three characters: where in the body a tumour began.

Source: World Health Organization, International Classification of Diseases for Oncology, third edition (2000; same
three-character sites in its revisions 3.1 and 3.2), section Topography; the English names of the sites.
"""

from __future__ import annotations

_SITES = """
C00 Lip
C01 Base of tongue
C02 Other and unspecified parts of tongue
C03 Gum
C04 Floor of mouth
C05 Palate
C06 Other and unspecified parts of mouth
C07 Parotid gland
C08 Other and unspecified major salivary glands
C09 Tonsil
C10 Oropharynx
C11 Nasopharynx
C12 Pyriform sinus
C13 Hypopharynx
C14 Other and ill-defined sites in lip, oral cavity and pharynx
C15 Esophagus
C16 Stomach
C17 Small intestine
C18 Colon
C19 Rectosigmoid junction
C20 Rectum
C21 Anus and anal canal
C22 Liver and intrahepatic bile ducts
C23 Gallbladder
C24 Other and unspecified parts of biliary tract
C25 Pancreas
C26 Other and ill-defined digestive organs
C30 Nasal cavity and middle ear
C31 Accessory sinuses
C32 Larynx
C33 Trachea
C34 Bronchus and lung
C37 Thymus
C38 Heart, mediastinum, and pleura
C39 Other and ill-defined sites within respiratory system and intrathoracic organs
C40 Bones, joints and articular cartilage of limbs
C41 Bones, joints and articular cartilage of other and unspecified sites
C42 Hematopoietic and reticuloendothelial systems
C44 Skin
C47 Peripheral nerves and autonomic nervous system
C48 Retroperitoneum and peritoneum
C49 Connective, subcutaneous and other soft tissues
C50 Breast
C51 Vulva
C52 Vagina
C53 Cervix uteri
C54 Corpus uteri
C55 Uterus, NOS
C56 Ovary
C57 Other and unspecified female genital organs
C58 Placenta
C60 Penis
C61 Prostate gland
C62 Testis
C63 Other and unspecified male genital organs
C64 Kidney
C65 Renal pelvis
C66 Ureter
C67 Bladder
C68 Other and unspecified urinary organs
C69 Eye and adnexa
C70 Meninges
C71 Brain
C72 Spinal cord, cranial nerves, and other parts of central nervous system
C73 Thyroid gland
C74 Adrenal gland
C75 Other endocrine glands and related structures
C76 Other and ill-defined sites
C77 Lymph nodes
C80 Unknown primary site
"""

SITES: tuple[tuple[str, str], ...] = tuple((line[:3], line[4:]) for line in _SITES.strip().splitlines())
"""Code and name, in the order of the classification."""
